"""Heads: from the deepest level of the backbone to logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from backbones.pyramid import Backbone

HeadName = Literal["pool", "mlp", "flatten", "native", "knn"]
# Heads that are fitted to features at once, where these are kept (``--data.cache features``).
FITTED = ("pool", "flatten", "knn")


class Head(nn.Module):
    """Norm, pooling or flattening, dropout, and one or two linear layers.

    Networks without batch norm (ConvNeXt, Swin, ViT, ...) end in a layer norm that belongs to their classifier and that
    a feature pyramid leaves out; the head brings its own.

    Args:
        name: ``pool`` (global average pooling; Lin, Chen and Yan, Network in Network, ICLR 2014), ``mlp`` (the same
            with a hidden layer) or ``flatten`` (every position keeps its own weights, for one image size only).
        channels: of the deepest level.
        outputs: number of logits.
        dropout: chance of dropping a feature before each linear layer.
        hidden: width of the hidden layer of ``mlp``.
        grid: (h, w) of the deepest level; needed by ``flatten``.
        norm: bring a layer norm over channels.
    """

    def __init__(
        self,
        name: HeadName,
        channels: int,
        outputs: int,
        *,
        dropout: float,
        hidden: int,
        grid: tuple[int, int] | None,
        norm: bool,
    ) -> None:
        from timm.layers import LayerNorm2d  # not before a head is made: the help of the command line reads this module

        super().__init__()
        # Over channels at each position, before pooling: the same for all heads, and what Swin and ViT do.
        self.norm = LayerNorm2d(channels) if norm else nn.Identity()
        features = channels
        if name == "flatten":
            if grid is None:
                raise SuiteError("--model.head flatten: needs --data.image_size, the one size it will see")
            features = channels * grid[0] * grid[1]
        self.pool = nn.Identity() if name == "flatten" else nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
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
        """The pyramid's levels, of which the last (B, C, h, w) is used -> (B, features)."""
        features: Tensor = self.flatten(self.pool(self.norm(levels[-1])))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, outputs) logits."""
        logits: Tensor = self.linear(self.hidden(self.dropout(features)))
        return logits

    def forward(self, levels: list[Tensor]) -> Tensor:
        """The pyramid's levels, of which the last (B, C, h, w) is used -> (B, outputs) logits."""
        return self.classify(self.features(levels))


def needs_norm(backbone: Backbone) -> bool:
    """Whether the network has no batch norm, so that its deepest level comes out unnormalised."""
    return not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules())
