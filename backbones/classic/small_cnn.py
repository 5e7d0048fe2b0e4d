"""The practice network of a course on convolutional networks: every part of it is a flag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from backbones.classic.blocks import ACTIVATIONS, Block
from backbones.classic.chain import Chain, Tap
from backbones.classic.options import Options
from scansuite.errors import SuiteError

SIDE = 32


class SmallCnn(Chain):
    """Blocks of convolutions, each with pooling after it, and a head of two linear layers.

    With 16 and 32 filters, a hidden layer of 128, RGB images of 32 px and 10 classes it has 268,746 parameters.

    Args:
        num_classes: outputs; 0: no classifier.
        in_chans: channels of the image.
        img_size: side, or (height, width), in pixels; the flattening head is made for it.
        drop_rate: before each linear layer of the head.
        global_pool: not used; see ``head``.
        **options: see :class:`~backbones.classic.options.Options`.

    Raises:
        SuiteError: an option that cannot be, or images of which nothing is left.
        TypeError: no such option.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        img_size: int | Sequence[int] = SIDE,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        **options: Any,
    ) -> None:
        super().__init__()
        made = Options(**options)
        self.unpadded = made.padding == "valid"
        self.blocks = nn.ModuleList()
        self.pools = nn.ModuleList()
        chain, taps = [], []
        channels, reduction = in_chans, 1
        for index, width in enumerate(made.widths):
            self.blocks.append(Block(channels, width, made, first=index == 0))
            self.pools.append(_after(made))
            channels, reduction = width, reduction * made.stride
            chain += [f"blocks.{index}", f"pools.{index}"]
            taps.append(Tap(f"blocks.{index}", width, reduction))
            reduction *= 1 if made.pool == "none" else 2
        if made.pool != "none":  # the end of the chain
            taps.append(Tap(chain[-1], channels, reduction))
        else:
            taps[-1] = taps[-1]._replace(module=chain[-1])

        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        features = channels
        self.squeeze: nn.Module = nn.Flatten()
        if made.head == "flatten":
            rows, columns = self._grid(chain, in_chans, height, width)
            features = channels * rows * columns
        else:
            self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.hidden: nn.Module = nn.Identity()
        if made.hidden and num_classes:  # of large images it would be large, and of no use
            act = ACTIVATIONS[made.activation]()
            self.hidden = nn.Sequential(nn.Dropout(drop_rate), nn.Linear(features, made.hidden), act)
            features = made.hidden
        self.dropout = nn.Dropout(drop_rate)
        self.fc = nn.Linear(features, num_classes) if num_classes else nn.Identity()
        self._fc_features = features
        self.finish(chain, taps, "fc", num_classes)

    @torch.no_grad()
    def _grid(self, chain: list[str], in_chans: int, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that are left of an image."""
        x = torch.zeros(1, in_chans, height, width)
        self.eval()
        try:
            for name in chain:
                x = self.get_submodule(name)(x)
        except RuntimeError as error:
            raise SuiteError(
                f"small_cnn: {len(self.blocks)} blocks leave nothing of images of {height}x{width}: lower "
                "--model.backbone_args.depth, take padding same, or enlarge --data.image_size"
            ) from error
        finally:
            self.train()
        return x.shape[-2], x.shape[-1]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, C, h, w) -> (B, num_classes) logits."""
        flat: Tensor = self.dropout(self.hidden(self.squeeze(features)))
        return flat if pre_logits else self.fc(flat)

    def classifier_features(self) -> int:
        """Inputs of the last linear layer."""
        return self._fc_features


def _after(options: Options) -> nn.Sequential:
    """Pooling and the dropping of whole maps (Tompson et al., CVPR 2015)."""
    parts: list[nn.Module] = []
    if options.pool != "none":
        parts.append(nn.MaxPool2d(2) if options.pool == "max" else nn.AvgPool2d(2))
    if options.dropout2d:
        parts.append(nn.Dropout2d(options.dropout2d))
    return nn.Sequential(*parts)


default_cfgs = generate_default_cfgs(
    {
        "small_cnn": {
            "num_classes": 10, "input_size": (3, SIDE, SIDE), "pool_size": (8, 8), "crop_pct": 1.0,
            "interpolation": "bilinear", "mean": (0.5,) * 3, "std": (0.5,) * 3, "fixed_input_size": True,
            "first_conv": "blocks.0.conv1", "classifier": "fc",
        },
    }
)  # fmt: skip


@register_model
def small_cnn(pretrained: bool = False, **kwargs: Any) -> SmallCnn:
    """A few blocks of convolutions and two linear layers, 268,746 parameters with ten classes."""
    net: SmallCnn = build_model_with_cfg(
        SmallCnn, "small_cnn", pretrained, feature_cfg={"out_indices": (0, 1, 2), "feature_cls": "getter"}, **kwargs
    )
    return net
