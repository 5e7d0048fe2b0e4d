"""Numbers of a data set that its page shows as small plots."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.html_plots import bar_plot, histogram_plot, point_plot
from scansuite.words import number_of

if TYPE_CHECKING:
    from markupsafe import Markup

_BINS = 24
_WHOLE = 2**31  # whole numbers below this are counted as such
_CLOSE = 1e-12  # of numbers up to 1: what as many bins need that floats can tell apart
_MOST_POINTS = 400


class Plot(ABC):
    """A plot of the page.

    Attributes:
        title: of what.
    """

    title: str

    @abstractmethod
    def markup(self) -> Markup | None:
        """As it stands in the page; None where there is nothing to show."""


@dataclass(frozen=True)
class Bars(Plot):
    """Counts of things that have names.

    Attributes:
        title: of what.
        bars: what, and how often.
        what: the things are.
        note: stands below them.
    """

    title: str
    bars: Sequence[tuple[str, int]]
    what: str
    note: str = ""

    def markup(self) -> Markup | None:
        """Bars, from top to bottom."""
        return bar_plot(self.title, self.bars, self.what, self.note) if self.bars else None


@dataclass(frozen=True, eq=False)
class Numbers(Plot):
    """Numbers of one unit, of several kinds.

    Attributes:
        title: of what.
        numbers: (N,) of each kind, by its name.
        unit: of all.
    """

    title: str
    numbers: Mapping[str, NDArray[Any]]
    unit: str

    def markup(self) -> Markup | None:
        """Histograms above one another."""
        found = {name: bins(values) for name, values in self.numbers.items()}
        panels = [(name, one.edges, one.counts) for name, one in found.items() if one.counts]
        strange = max((one.strange for one in found.values()), default=0)
        note = f"{number_of(strange, 'value')} NaN or infinite" if strange else ""
        return histogram_plot(self.title, panels, self.unit, note) if panels else None


@dataclass(frozen=True, eq=False)
class Pairs(Plot):
    """Pairs of numbers, of which few differ.

    Attributes:
        title: of what.
        pairs: (N, 2) different ones.
        counts: (N,) of each.
        names: of both numbers, with their unit.
    """

    title: str
    pairs: NDArray[Any]
    counts: NDArray[np.int64]
    names: tuple[str, str]

    def markup(self) -> Markup | None:
        """Dots; of very many pairs those that are met most often."""
        if not len(self.pairs):
            return None
        order = np.argsort(-self.counts, kind="stable")[:_MOST_POINTS]
        points = [
            (*pair, count) for pair, count in zip(self.pairs[order].tolist(), self.counts[order].tolist(), strict=True)
        ]
        width, height, most = points[0]
        note = f"{number_of(len(self.pairs), 'different one')}; most often {width:g} x {height:g}: {most} times"
        left = len(self.pairs) - len(order)
        return point_plot(self.title, points, self.names, note + (f"; the {left} rarest are not drawn" if left else ""))


class Bins(NamedTuple):
    """Numbers in bins of one width.

    Attributes:
        edges: K + 1 ascending ones; the two of one bin are equal where all numbers are.
        counts: K of them.
        strange: how many were NaN or infinite.
    """

    edges: list[float]
    counts: list[int]
    strange: int


def bins(values: NDArray[Any]) -> Bins:
    """Numbers in two dozen bins; in one where they are too close together for that.

    Args:
        values: (N,).
    """
    numbers = np.asarray(values, np.float64)
    known = numbers[np.isfinite(numbers)]
    strange = len(numbers) - len(known)
    if not len(known):
        return Bins([], [], strange)
    # By a power of two, which loses nothing: the distance of the largest numbers there are is none.
    exponent = int(np.frexp(np.abs(known).max())[1])
    near = np.ldexp(known, -exponent)
    if np.ptp(near) <= _CLOSE:
        return Bins([float(known[0])] * 2, [len(known)], strange)
    if np.abs(known).max() < _WHOLE and (known == np.rint(known)).all():  # as many whole numbers in each bin
        low, width = int(known.min()), -(-(int(np.ptp(known)) + 1) // _BINS)
        counts = np.bincount(((known - low) // width).astype(np.int64))
        return Bins([float(low + width * number) for number in range(len(counts) + 1)], counts.tolist(), strange)
    counts, edges = np.histogram(near, bins=_BINS)
    return Bins(np.ldexp(edges, exponent).tolist(), counts.tolist(), strange)
