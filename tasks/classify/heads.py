"""Heads: from the levels of the backbone, most of them from the deepest alone, to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scansuite.errors import SuiteError
from tasks.classify.head_names import HeadName

if TYPE_CHECKING:
    from backbones.pyramid import Backbone

_LEAST_VARIANCE = 1e-6  # of a feature map, so that the root of one that is even has a gradient


class Head(nn.Module):
    """Norm, pooling or flattening, dropout, and one or two linear layers.

    Networks without batch norm (ConvNeXt, Swin, ViT, ...) end in a layer norm that belongs to their classifier and that
    a feature pyramid leaves out; the head brings its own.

    Args:
        name: ``pool`` (global average pooling; Lin, Chen and Yan, Network in Network, ICLR 2014), ``levels`` (mean and
            standard deviation of the feature maps of all levels, standardised: early layers know textures and edges
            that later ones have given up for what ImageNet asks; Evci et al., Head2Toe, ICML 2022), ``mlp`` (``pool``
            with a hidden layer) or ``flatten`` (every position keeps its own weights, for one image size only).
        channels: of each level, fine to coarse; all but ``levels`` use the deepest alone.
        outputs: number of logits.
        dropout: chance of dropping a feature before each linear layer.
        hidden: width of the hidden layer of ``mlp``.
        grid: (h, w) of the deepest level; needed by ``flatten``.
        norm: bring a layer norm over channels.
    """

    def __init__(
        self,
        name: HeadName,
        channels: Sequence[int],
        outputs: int,
        *,
        dropout: float,
        hidden: int,
        grid: tuple[int, int] | None,
        norm: bool,
    ) -> None:
        from timm.layers import LayerNorm2d  # not before a head is made: the help of the command line reads this module

        super().__init__()
        self.reads_all = name == "levels"
        features = channels[-1]
        # Over channels at each position, before pooling: what Swin and ViT do.
        self.norm = LayerNorm2d(features) if norm and not self.reads_all else nn.Identity()
        if name == "flatten":
            if grid is None:
                raise SuiteError("--model.head flatten: needs --data.image_size, the one size it will see")
            features *= grid[0] * grid[1]
        if self.reads_all:
            features = 2 * sum(channels)
        self.pool = nn.AdaptiveAvgPool2d(1) if name in ("pool", "mlp") else nn.Identity()
        self.flatten = nn.Flatten()
        # Levels are of very different scales, and what a weight decay or l2 asks of a weight goes by its feature's.
        self.scale: Standardised | nn.Identity = Standardised(features) if self.reads_all else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.hidden: nn.Module = nn.Identity()
        if name == "mlp":
            self.hidden = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout))
            features = hidden
        self.linear = nn.Linear(features, outputs)

    def output_layers(self) -> list[nn.Module]:
        """Layers whose channels mean something outside of ``forward``, which pruning leaves alone."""
        return [self.linear]

    @property
    def width(self) -> int:
        """Length of what :meth:`features` gives."""
        first = self.linear if isinstance(self.hidden, nn.Identity) else self.hidden[0]  # type: ignore[index]
        return int(first.in_features)

    def features(self, levels: list[Tensor]) -> Tensor:
        """The pyramid's levels, each (B, C, h, w), of which most heads use the last -> (B, features)."""
        if self.reads_all:
            return of_all(levels)
        features: Tensor = self.flatten(self.pool(self.norm(levels[-1])))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, outputs) logits."""
        logits: Tensor = self.linear(self.hidden(self.dropout(self.scale(features))))
        return logits

    def forward(self, levels: list[Tensor]) -> Tensor:
        """The pyramid's levels, each (B, C, h, w), of which most heads use the last -> (B, outputs) logits."""
        return self.classify(self.features(levels))


class Standardised(nn.BatchNorm1d):
    """Features less their mean, by their standard deviation: of the batch in training, else of what was seen.

    Args:
        features: number of them.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, affine=False)

    @torch.no_grad()
    def see(self, features: Tensor) -> None:
        """Take mean and variance from all (M, F) features of the training images."""
        variance, mean = torch.var_mean(features.double(), dim=0, correction=0)
        self.running_mean, self.running_var = mean.float(), variance.float()

    def forward(self, input: Tensor) -> Tensor:
        """(B, F) -> (B, F); a batch of one image has no deviation of its own, and takes that of what was seen."""
        if self.training and len(input) < 2:
            return F.batch_norm(input, self.running_mean, self.running_var, eps=self.eps)
        return super().forward(input)


def of_all(levels: list[Tensor]) -> Tensor:
    """Levels, each (B, C, h, w) -> (B, F): mean and deviation of the feature maps of all, F twice their number."""
    return torch.cat([mean_and_deviation(level) for level in levels], dim=1)


def mean_and_deviation(level: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, 2C): mean of each feature map, and standard deviation over its cells, in float32."""
    level = level.float()
    mean = level.mean(dim=(2, 3))
    variance = (level - mean[:, :, None, None]).square().mean(dim=(2, 3))
    return torch.cat([mean, (variance + _LEAST_VARIANCE).sqrt()], dim=1)


def needs_norm(backbone: Backbone) -> bool:
    """Whether the network has no batch norm, so that its deepest level comes out unnormalised."""
    return not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules())
