"""Options of the small CNN, checked with one line for a mistake."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from scansuite.errors import SuiteError, nearest

Padding = Literal["same", "valid"]
Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh"]
Pool = Literal["max", "average", "none"]
BlockKind = Literal["plain", "stacked", "residual"]
Convolution = Literal["standard", "grouped", "depthwise", "separable", "pointwise"]
Attention = Literal["none", "se", "cbam"]
HeadKind = Literal["flatten", "pool"]

FLAG = "--model.backbone_args"
CHOICES: dict[str, tuple[str, ...]] = {
    "padding": get_args(Padding),
    "activation": get_args(Activation),
    "pool": get_args(Pool),
    "block": get_args(BlockKind),
    "convolution": get_args(Convolution),
    "attention": get_args(Attention),
    "head": get_args(HeadKind),
}


@dataclass(frozen=True)
class Options:
    """The parts of the small CNN, one flag below ``--model.backbone_args`` each.

    Attributes:
        filters: of each block; a single number is that of the first block and doubles from block to block.
        depth: number of blocks; left out: as many as there are numbers in ``filters``, else 2.
        kernel: side of the convolutions.
        stride: of the first convolution of each block.
        padding: ``same`` keeps the size, ``valid`` loses kernel - 1 pixels a convolution.
        activation: after each convolution.
        pool: after each block, 2 x 2.
        batch_norm: after each convolution.
        dropout2d: chance of dropping a whole map after each block.
        block: ``plain`` is one convolution, ``stacked`` two (VGG), ``residual`` two and a shortcut (ResNet).
        convolution: ``grouped`` in ``groups``; ``depthwise`` one filter a map; ``separable`` depthwise and then
            pointwise (MobileNet); ``pointwise`` 1 x 1. The first convolution of the network is always a standard one.
        groups: of ``grouped``.
        attention: squeeze-and-excitation, or CBAM, at the end of each block.
        hidden: units of the hidden layer of the native head; 0: none.
        head: the native head flattens, or pools over all positions.
    """

    filters: int | Sequence[int] = 16
    depth: int | None = None
    kernel: int = 3
    stride: int = 1
    padding: Padding = "same"
    activation: Activation = "relu"
    pool: Pool = "max"
    batch_norm: bool = True
    dropout2d: float = 0.25
    block: BlockKind = "plain"
    convolution: Convolution = "standard"
    groups: int = 4
    attention: Attention = "none"
    hidden: int = 128
    head: HeadKind = "flatten"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise SuiteError(f"{FLAG}.{name} {value}: {nearest(str(value), choices)}")
        for name, least in (("kernel", 1), ("stride", 1), ("groups", 1), ("hidden", 0)):
            _whole(name, getattr(self, name), least)
        if self.depth is not None:
            _whole("depth", self.depth, 1)
        if not isinstance(self.batch_norm, bool):
            raise SuiteError(f"{FLAG}.batch_norm {self.batch_norm}: must be true or false")
        rate: object = self.dropout2d
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise SuiteError(f"{FLAG}.dropout2d {rate}: must be a number of at least 0 and below 1")
        if self.kernel % 2 == 0 and (self.padding == "same" or self.block == "residual"):
            why = "padding same" if self.padding == "same" else "block residual"
            raise SuiteError(f"{FLAG}.kernel {self.kernel}: with {why} it must be odd")
        self._check_channels(self.widths)

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each block."""
        given: object = self.filters
        if isinstance(given, int):
            _whole("filters", given, 1)
            return tuple(given * 2**block for block in range(self.depth or 2))
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise SuiteError(f"{FLAG}.filters {given}: must be a number, or a list of one number a block")
        for number in given:
            _whole("filters", number, 1)
        if self.depth not in (None, len(given)):
            raise SuiteError(f"{FLAG}.depth {self.depth}: filters has {len(given)} numbers: leave depth out")
        return tuple(given)

    def _check_channels(self, widths: tuple[int, ...]) -> None:
        for before, after in itertools.pairwise(widths):
            if self.convolution in ("depthwise",) and after % before:
                raise SuiteError(f"{FLAG}.filters {list(widths)}: depthwise needs {after} to be a multiple of {before}")
        if self.convolution == "grouped" and any(width % self.groups for width in widths):
            raise SuiteError(f"{FLAG}.groups {self.groups}: must divide all of filters {list(widths)}")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SuiteError(f"{FLAG}.{name} {value}: must be a whole number of at least {least}")
