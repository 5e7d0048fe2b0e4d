"""LeNet-5 as published: trainable subsampling, the table of connections of C3, and the scaled hyperbolic tangent."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from backbones.classic.chain import Chain, Tap

FIELD = 32  # side of the network's input in the paper, where 28 px digits stand in the middle

# Table I of the paper: which maps of S2 each map of C3 reads.
CONNECTIONS = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5),
    (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip


class Field(nn.Module):
    """Images under 32 px get a margin, their outermost pixels repeated, as digits of 28 px do in the paper."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, max(H, 32), max(W, 32))."""
        height, width = (max(FIELD - side, 0) for side in image.shape[-2:])
        if not height and not width:
            return image
        margin = (width // 2, width - width // 2, height // 2, height - height // 2)
        return F.pad(image, margin, mode="replicate")


class Squash(nn.Module):
    """1.7159 tanh(2 a / 3): the activation of all layers to F6 (appendix A of the paper)."""

    def forward(self, a: Tensor) -> Tensor:
        """Any shape -> the same."""
        return 1.7159 * torch.tanh(2 / 3 * a)


class Subsample(nn.Module):
    """Mean of 2 x 2, times a coefficient, plus a bias, both trained, one of each a map (S2 and S4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H // 2, W // 2)."""
        return F.avg_pool2d(x, 2) * self.weight[:, None, None] + self.bias[:, None, None]


class TableConv(nn.Module):
    """C3: sixteen 5 x 5 convolutions, each over some of the maps of S2."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(len(read), 1, 5) for read in CONNECTIONS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 6, H, W) -> (B, 16, H - 4, W - 4)."""
        return torch.cat([conv(x[:, read]) for conv, read in zip(self.maps, CONNECTIONS, strict=True)], dim=1)


class LeNet5(Chain):
    """LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998), II.B.

    The layers to F6 have the paper's 60,000 parameters (with one channel). The output is a linear layer, as everywhere
    since, in place of radial basis functions fixed to pictures of digits. On images over 32 px, C5 gives a map, over
    which the native head averages.

    Args:
        num_classes: outputs; 0: no classifier.
        in_chans: channels of the image, 1 in the paper.
        drop_rate: before the classifier; none in the paper.
        global_pool: only ``avg``.
    """

    unpadded = True

    def __init__(
        self, num_classes: int = 10, in_chans: int = 1, drop_rate: float = 0.0, global_pool: str = "avg"
    ) -> None:
        super().__init__()
        if global_pool not in ("avg", ""):
            raise ValueError("LeNet-5 pools by average alone")
        self.field = Field()
        self.c1, self.a1 = nn.Conv2d(in_chans, 6, 5), Squash()
        self.s2, self.a2 = Subsample(6), Squash()
        self.c3, self.a3 = TableConv(), Squash()
        self.s4, self.a4 = Subsample(16), Squash()
        self.c5, self.a5 = nn.Conv2d(16, 120, 5), Squash()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.f6, self.a6 = nn.Linear(120, 84), Squash()
        self.dropout = nn.Dropout(drop_rate)
        self.output = nn.Linear(84, num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                # Variance 1 / fan-in, which keeps this activation in its useful range (LeCun et al., "Efficient
                # BackProp", 1998); the 2.4 / fan-in of the paper at hand lets signals die out in the deeper layers.
                bound = sqrt(3 / module.weight[0].numel())
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)
        self.finish(
            ["field", "c1", "a1", "s2", "a2", "c3", "a3", "s4", "a4", "c5", "a5"],
            [Tap("a1", 6, 1), Tap("a3", 16, 2), Tap("a5", 120, 4)],
            "output",
            num_classes,
        )

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 120, h, w) -> (B, num_classes) logits."""
        flat: Tensor = self.dropout(self.a6(self.f6(torch.flatten(self.pool(features), 1))))
        return flat if pre_logits else self.output(flat)

    def classifier_features(self) -> int:
        """Inputs of the last linear layer."""
        return 84


default_cfgs = generate_default_cfgs(
    {
        "lenet5": {
            "num_classes": 10, "input_size": (1, FIELD, FIELD), "pool_size": (1, 1), "crop_pct": 1.0,
            "interpolation": "bilinear", "mean": (0.5,), "std": (0.5,), "first_conv": "c1", "classifier": "output",
        },
    }
)  # fmt: skip


@register_model
def lenet5(pretrained: bool = False, **kwargs: Any) -> LeNet5:
    """LeNet-5 of 1998, 60,850 parameters with ten classes and one channel."""
    net: LeNet5 = build_model_with_cfg(
        LeNet5, "lenet5", pretrained, feature_cfg={"out_indices": (0, 1, 2), "feature_cls": "getter"}, **kwargs
    )
    return net
