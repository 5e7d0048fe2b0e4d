"""The neck: from the backbone's levels to levels of equal width, and coarser ones after them."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from scansuite.errors import SuiteError

if TYPE_CHECKING:  # brings timm, which the help of the command line can do without
    from backbones.pyramid import Backbone


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm (Wu and He, ECCV 2018) of at most 32 groups with at least four channels each.

    Batch norm would not do: batches of detection are small, and a head sees levels of unlike statistics.
    """
    return nn.GroupNorm(gcd(32, channels // 4), channels)


class Neck(nn.Module):
    """A feature pyramid (Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017) with group norm.

    Networks without batch norm (ConvNeXt, Swin, ViT, ...) give their levels unnormalised; a layer norm over the
    channels of each comes first for them, as where Swin (Liu et al., ICCV 2021) is used for detection.

    Args:
        backbone: whose levels come in.
        channels: of every level that goes out, a multiple of 8.
        extra: ``p6p7`` adds two coarser levels by convolution (RetinaNet, FCOS), ``pool`` one by taking each second
            value (Faster R-CNN).

    Attributes:
        strides: of the levels that go out.

    Raises:
        SuiteError: number of channels.
    """

    def __init__(self, backbone: Backbone, channels: int, extra: Literal["p6p7", "pool"]) -> None:
        super().__init__()
        from timm.layers import LayerNorm2d

        if channels < 8 or channels % 8:
            raise SuiteError(f"--model.channels {channels}: must be a multiple of 8")
        bare = not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules())
        self.norms = nn.ModuleList(LayerNorm2d(count) if bare else nn.Identity() for count in backbone.channels)
        blocks = LastLevelP6P7(channels, channels) if extra == "p6p7" else LastLevelMaxPool()
        self.fpn = FeaturePyramidNetwork(backbone.channels, channels, blocks, norm_layer=group_norm)
        coarsest = backbone.strides[-1]
        self.strides = [*backbone.strides, *((2 * coarsest, 4 * coarsest) if extra == "p6p7" else (2 * coarsest,))]

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """(B, c, h, w) for each stride of the backbone -> (B, channels, h, w) for each of ``strides``."""
        normed = {str(i): norm(level) for i, (norm, level) in enumerate(zip(self.norms, levels, strict=True))}
        return list(self.fpn(normed).values())


def grids_of(levels: list[Tensor]) -> tuple[tuple[int, int], ...]:
    """(h, w) of each level."""
    return tuple((level.shape[-2], level.shape[-1]) for level in levels)
