"""Channels of each layer over many scans: which are dead, and how alike the others are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tasks.explain.features import as_planes, listening, run
from tasks.explain.layers import is_activation, short_name

CONSTANT = 1e-6  # of the layer's largest absolute value: a channel that varies less is constant
_PLACES = 512  # of a scan that correlations are computed of
_MOST_CORRELATED = 1024  # channels


class ChannelRow(NamedTuple):
    """What is said of a layer.

    Attributes:
        layer: its name, as timm has it within the backbone.
        kind: class of the module.
        channels: how many it has.
        dead: how many are dead: constant, or after an activation function never above 0.
        constant: how many have one value (within a millionth of the layer's largest) at all places of all scans.
        never_above_0: how many are never above 0; None where no activation function comes before.
        dead_channels: numbers of the dead ones, separated by spaces.
        correlation: mean absolute correlation of two channels that are not constant, over places of all scans; NaN with
            fewer than two.
        effective_channels: how many uncorrelated channels would spread their variance alike: the participation ratio of
            their correlation matrix, from 1 (all say the same) to their number (P. Gao et al., A theory of
            multineuronal dimensionality, dynamics and measurement, bioRxiv 214262, 2017).
        places: of all scans from which correlations were computed; few for the channels make them look correlated.
    """

    layer: str
    kind: str
    channels: int
    dead: int
    constant: int
    never_above_0: int | None
    dead_channels: str
    correlation: float
    effective_channels: float
    places: int


@dataclass
class _Sums:
    kind: str
    activation: bool
    low: Tensor
    high: Tensor
    picked: Tensor  # channels that are correlated
    shift: Tensor  # the mean of the first scan, near which sums lose nothing
    total: Tensor
    products: Tensor
    places: int = 0


class ChannelMeter:
    """Looks at the channels of layers, scan by scan, in memory that does not grow with their number.

    Args:
        model: of a task, with its weights.
        layers: names among its modules; those whose output is no map of the image are left out.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        self.model, self.layers = model, list(layers)
        self._sums: dict[str, _Sums] = {}
        self.scans = 0

    def add(self, image: Tensor) -> None:
        """Look at one scan: (1, C, H, W) in [0, 1]."""
        size, seen = (int(image.shape[-2]), int(image.shape[-1])), set[str]()

        def take(name: str, module: nn.Module, output: Tensor) -> None:
            planes = None if name in seen else as_planes(output, size, self.model)
            if planes is not None:
                seen.add(name)
                self._take(name, module, planes[0].flatten(1).double().cpu())

        with listening(self.model, self.layers, take):
            run(self.model, image)
        self.scans += 1

    def rows(self) -> list[ChannelRow]:
        """A row for each layer that has maps, in the order of ``layers``."""
        return [_row(name, self._sums[name]) for name in self.layers if name in self._sums]

    def dead(self, layer: str) -> list[int]:
        """Numbers of the dead channels of a layer."""
        return [] if layer not in self._sums else _dead(self._sums[layer])[0].nonzero()[:, 0].tolist()

    def _take(self, name: str, module: nn.Module, values: Tensor) -> None:
        """Add (C, places) of a scan."""
        low, high = values.min(dim=1).values, values.max(dim=1).values
        chosen = _spaced(values.shape[1], _PLACES)
        sums = self._sums.get(name)
        if sums is None:
            picked = _spaced(len(values), _MOST_CORRELATED)
            some = values[picked][:, chosen]
            zeros = torch.zeros(len(picked), dtype=torch.float64)
            sums = self._sums[name] = _Sums(
                type(module).__name__, is_activation(module), low, high, picked, some.mean(dim=1), zeros,
                torch.zeros(len(picked), len(picked), dtype=torch.float64),
            )  # fmt: skip
        sums.low, sums.high = torch.minimum(sums.low, low), torch.maximum(sums.high, high)
        some = values[sums.picked][:, chosen] - sums.shift[:, None]
        sums.total = sums.total + some.sum(dim=1)
        sums.products = sums.products + some @ some.T
        sums.places += some.shape[1]


def _row(name: str, sums: _Sums) -> ChannelRow:
    dead, constant, never = _dead(sums)
    correlation, effective = _alike(sums, constant[sums.picked])
    return ChannelRow(
        short_name(name),
        sums.kind,
        len(sums.low),
        int(dead.sum()),
        int(constant.sum()),
        int(never.sum()) if sums.activation else None,
        " ".join(map(str, dead.nonzero()[:, 0].tolist())),
        correlation,
        effective,
        sums.places,
    )


def _dead(sums: _Sums) -> tuple[Tensor, Tensor, Tensor]:
    """(C,) each: dead, constant, never above 0."""
    largest = float(torch.maximum(sums.low.abs(), sums.high.abs()).max())
    constant, never = sums.high - sums.low <= CONSTANT * largest, sums.high <= 0
    return constant | never if sums.activation else constant, constant, never


def _alike(sums: _Sums, constant: Tensor) -> tuple[float, float]:
    """Mean absolute correlation, and participation ratio, of the channels that are not constant."""
    live = (~constant).nonzero()[:, 0]
    if len(live) < 2 or sums.places < 2:
        return float("nan"), float("nan")
    mean = sums.total[live] / sums.places
    covariance = sums.products[live][:, live] / sums.places - torch.outer(mean, mean)
    variance = covariance.diagonal()
    varied = variance > 0  # places that were looked at may leave out the one where it is not
    covariance, spread = covariance[varied][:, varied], variance[varied].sqrt()
    count = len(spread)
    if count < 2:
        return float("nan"), float("nan")
    matrix = (covariance / torch.outer(spread, spread)).clamp(-1, 1)
    off = matrix.abs().sum() - matrix.diagonal().abs().sum()
    return float(off / (count * (count - 1))), float(count**2 / matrix.square().sum())


def _spaced(count: int, most: int) -> Tensor:
    """At most so many numbers of 0..count-1, evenly spaced."""
    return torch.from_numpy(np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)))
