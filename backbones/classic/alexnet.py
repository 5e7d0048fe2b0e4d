"""AlexNet, with the layers and the parameter names of torchvision's."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights

from backbones.classic.chain import Chain, Tap


class AlexNet(Chain):
    """Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014), on one device.

    It is the network of Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks" (NeurIPS 2012), without local response normalisation and with a few filters less. Pooling rounds up, which
    changes nothing at 224 px and lets it take images from 35 px.

    Args:
        num_classes: outputs; 0: no classifier.
        in_chans: channels of the image.
        drop_rate: before the two hidden linear layers (0.5 in the paper).
        global_pool: only ``avg``: the paper's 6 x 6 grid, averaged from other sizes.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0, global_pool: str = "avg"
    ) -> None:
        super().__init__()
        if global_pool not in ("avg", ""):
            raise ValueError("AlexNet pools by average alone")

        def pool() -> nn.MaxPool2d:
            return nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.features = nn.Sequential(
            nn.Conv2d(in_chans, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), pool(),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), pool(),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), pool(),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(drop_rate), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
            nn.Dropout(drop_rate), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes) if num_classes else nn.Identity(),
        )  # fmt: skip
        self.finish(
            [f"features.{index}" for index in range(13)],
            [
                Tap("features.1", 64, 4),
                Tap("features.4", 192, 8),
                Tap("features.11", 256, 16),
                Tap("features.12", 256, 32),
            ],
            "classifier.6",
            num_classes,
        )

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 256, h, w) -> (B, num_classes) logits."""
        flat = torch.flatten(self.avgpool(features), 1)
        logits: Tensor = self.classifier[:-1](flat) if pre_logits else self.classifier(flat)
        return logits

    def classifier_features(self) -> int:
        """Inputs of the last linear layer."""
        return 4096

    def shrink_stem(self) -> str:
        """Take away the first stride of 4, and the width of the kernel that went with it, for images under 64 px."""
        conv = self.features[0]
        assert isinstance(conv, nn.Conv2d)
        small = nn.Conv2d(conv.in_channels, 64, 5, padding=2)
        small.to(conv.weight.device)
        self.features[0] = small
        infos: list[dict[str, Any]] = self.feature_info
        for info in infos:
            info["reduction"] //= 4
        return "5x5 kernel, stride 1"


_WEIGHTS = AlexNet_Weights.IMAGENET1K_V1
default_cfgs = generate_default_cfgs(
    {
        "alexnet.tv_in1k": {
            "url": _WEIGHTS.url, "num_classes": 1000, "input_size": (3, 224, 224), "pool_size": (6, 6),
            "crop_pct": 0.875, "interpolation": "bilinear", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
            "first_conv": "features.0", "classifier": "classifier.6", "license": "bsd-3-clause",
        },
    }
)  # fmt: skip


@register_model
def alexnet(pretrained: bool = False, **kwargs: Any) -> AlexNet:
    """AlexNet of 2014, 61.1 million parameters."""
    net: AlexNet = build_model_with_cfg(
        AlexNet, "alexnet", pretrained, feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"}, **kwargs
    )
    return net
