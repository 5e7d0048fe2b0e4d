"""GoogLeNet (Inception v1) with batch norm, from torchvision's blocks and with its parameter names."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torchvision.models import GoogLeNet_Weights
from torchvision.models.googlenet import BasicConv2d, Inception

from backbones.classic.chain import Chain, Tap

# Channels in, then 1x1; 1x1 before 3x3, 3x3; 1x1 before "5x5", "5x5"; after the pooling (table 1 of the paper).
INCEPTIONS: dict[str, tuple[int, int, int, int, int, int, int]] = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}


class GoogLeNet(Chain):
    """Szegedy et al., "Going Deeper with Convolutions" (CVPR 2015).

    As in torchvision there is batch norm after every convolution, in place of local response normalisation, and 3 x 3
    kernels stand where the paper has 5 x 5. The two auxiliary classifiers, which only help networks without batch norm
    to train, are left out: a task has one output.

    Args:
        num_classes: outputs; 0: no classifier.
        in_chans: channels of the image.
        drop_rate: before the classifier (0.4 in the paper, 0.2 in torchvision).
        global_pool: only ``avg``.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0, global_pool: str = "avg"
    ) -> None:
        super().__init__()
        if global_pool not in ("avg", ""):
            raise ValueError("GoogLeNet pools by average alone")
        self.conv1 = BasicConv2d(in_chans, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        chain = ["conv1", "maxpool1", "conv2", "conv3", "maxpool2"]
        for name, widths in INCEPTIONS.items():
            if name in ("inception4a", "inception5a"):
                pool = f"maxpool{int(name[9]) - 1}"
                setattr(self, pool, nn.MaxPool2d(3 if name == "inception4a" else 2, stride=2, ceil_mode=True))
                chain.append(pool)
            setattr(self, name, Inception(*widths))
            chain.append(name)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(drop_rate)
        self.fc = nn.Linear(1024, num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and not module.weight.is_meta:
                nn.init.trunc_normal_(module.weight, std=0.01, a=-2, b=2)
        self.finish(
            chain,
            [
                Tap("conv1", 64, 2),
                Tap("conv3", 192, 4),
                Tap("inception3b", 480, 8),
                Tap("inception4e", 832, 16),
                Tap("inception5b", 1024, 32),
            ],
            "fc",
            num_classes,
        )

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 1024, h, w) -> (B, num_classes) logits."""
        flat: Tensor = self.dropout(torch.flatten(self.avgpool(features), 1))
        return flat if pre_logits else self.fc(flat)

    def classifier_features(self) -> int:
        """Inputs of the last linear layer."""
        return 1024


def checkpoint_filter_fn(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the auxiliary classifiers of torchvision's weight file."""
    return {key: tensor for key, tensor in state.items() if not key.startswith(("aux1.", "aux2."))}


default_cfgs = generate_default_cfgs(
    {
        "googlenet.tv_in1k": {
            # torchvision rescales its input before the first layer: seen from outside that layer, mean and std are 0.5.
            "url": GoogLeNet_Weights.IMAGENET1K_V1.url, "num_classes": 1000, "input_size": (3, 224, 224),
            "pool_size": (7, 7), "crop_pct": 0.875, "interpolation": "bilinear", "mean": (0.5,) * 3, "std": (0.5,) * 3,
            "first_conv": "conv1.conv", "classifier": "fc", "license": "bsd-3-clause",
        },
    }
)  # fmt: skip


@register_model
def googlenet(pretrained: bool = False, **kwargs: Any) -> GoogLeNet:
    """GoogLeNet with batch norm, 6.6 million parameters."""
    net: GoogLeNet = build_model_with_cfg(
        GoogLeNet,
        "googlenet",
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": (0, 1, 2, 3, 4), "feature_cls": "getter"},
        **kwargs,
    )
    return net
