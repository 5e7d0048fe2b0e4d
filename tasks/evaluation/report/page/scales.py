"""Axes of a plot: from values to places, round ticks, and numbers as texts."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.report.content import FloatArray

_LEAST = 1e-300  # width of a range of which a quarter is still a number
_MARGIN = 0.04  # of the data's range, at either end
_DECADES = 6  # ticks of a logarithmic axis, about
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FAR = 1e4  # units outside of the plot that are as good as infinite


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        low: its least value.
        high: its largest.
        start: place of the least.
        end: place of the largest.
        log: it is logarithmic; then both ends are above 0.
        whole: whole numbers alone have ticks, as epochs.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False

    def place(self, values: FloatArray | float) -> FloatArray:
        """Where values stand; NaN where there is no place for one."""
        at = np.asarray(values, float)
        with np.errstate(all="ignore"):
            if self.log:
                low, high = math.log10(self.low), math.log10(self.high)
                share = (np.log10(np.where(at > 0, at, np.nan)) - low) / (high - low)
            else:  # by halves, which no float is too large for
                share = (at / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        share = np.where(np.isfinite(at), share, np.nan)
        return np.clip(self.start + (self.end - self.start) * share, -_FAR, _FAR)

    def round_numbers(self, most: int = 5) -> tuple[list[float], list[str]]:
        """Round numbers within the axis, some so many of them, and their texts."""
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high, most, whole=self.whole)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Place and text of round numbers within the axis."""
        values, texts = self.round_numbers(most)
        places = self.place(np.asarray(values, float)).tolist()
        return [(round(place, 1), text) for place, text in zip(places, texts, strict=True)]


def scale_of(
    values: Iterable[FloatArray],
    start: float,
    end: float,
    given: tuple[float, float] | None = None,
    *,
    log: bool = False,
    margin: bool = True,
) -> Scale:
    """The axis of some values: of one value, of none, and of huge ones too.

    Args:
        values: what is drawn; NaN and infinite ones do not count.
        start: place of the least value.
        end: place of the largest.
        given: ends of the axis; None = of the data.
        log: logarithmic.
        margin: leave room at both ends of the data.
    """
    found = np.concatenate([np.ravel(np.asarray(one, float)) for one in values] or [np.zeros(0)])
    found = found[np.isfinite(found)]
    if log:
        return _log_scale(found, start, end, given, margin=margin)
    if given is not None and given[0] < given[1] and all(map(math.isfinite, given)):
        return Scale(float(given[0]), float(given[1]), start, end)
    if not len(found):
        return Scale(0.0, 1.0, start, end)
    low, high = float(found.min()), float(found.max())
    if not high / 2 - low / 2 > 0:
        room = abs(low) / 20 or 0.5
        return Scale(low - room, high + room, start, end)
    room = (high / 2 - low / 2) * 2 * _MARGIN if margin else 0.0
    wide = low - room, high + room
    whole = high - low >= 2 and bool((found == np.round(found)).all())
    return Scale(*(wide if all(map(math.isfinite, wide)) else (low, high)), start, end, whole=whole)


def _log_scale(
    found: FloatArray, start: float, end: float, given: tuple[float, float] | None, *, margin: bool
) -> Scale:
    """The same of a logarithmic axis; where nothing is above 0, one that nothing stands on."""
    positive = found[found > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 1.0)
    if given is not None:  # an axis from 0 begins at the least value
        low, high = given[0] if given[0] > 0 else low, given[1] if given[1] > 0 else high
    if not low < high:
        low, high = max(low / 10, 5e-324), min(low * 10, sys.float_info.max)
    elif margin and given is None:
        room = (math.log10(high) - math.log10(low)) * _MARGIN
        if math.log10(low) - room > -300 and math.log10(high) + room < 300:
            low, high = low / 10**room, high * 10**room
    return Scale(low, high, start, end, log=True)


def number_text(value: float) -> str:
    """A number beside a point: at most four digits, and whole numbers below a million whole."""
    if math.isnan(value):
        return "undefined"
    if value == round(value, 0) and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.4g}"


def number_texts(values: FloatArray) -> list[str]:
    """The same of many."""
    return [number_text(value) for value in np.asarray(values, float).tolist()]


def path_of(x: FloatArray, y: FloatArray, *, closed: bool = False) -> str:
    """Places as the path of an SVG, with a gap where one is NaN.

    Args:
        x: ``(m,)``.
        y: ``(m,)``.
        closed: the last place is joined with the first; only where there is no gap.
    """
    parts, pen = [], "M"
    for left, top in zip(_short(x), _short(y), strict=True):
        if left == "nan" or top == "nan":
            pen = "M"
            continue
        parts.append(f"{pen}{left} {top}")
        pen = "L"
    return "".join(parts) + ("Z" if closed and parts else "")


def _short(places: FloatArray) -> list[str]:
    """Places with a digit behind the point at most."""
    return [f"{place:.1f}".removesuffix(".0") for place in places.tolist()]


def runs_of(there: Sequence[bool] | np.ndarray) -> list[slice]:
    """Stretches without a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(there, bool), [False]]).astype(np.int8)))
    return [slice(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _ticks(low: float, high: float, most: int, *, whole: bool = False) -> tuple[list[float], list[str]]:
    """Round numbers within a range, some ``most`` of them."""
    half = high / 2 - low / 2
    if not _LEAST < half < math.inf:
        return [low], [f"{low:.3g}"]
    step = 10.0 ** math.floor(math.log10(half) + math.log10(2 / most))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10, 20) if half / (step * factor) * 2 <= most + 1e-9)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    values = [(first + number) * step for number in range(most + 2)]
    values = [one for one in values if low - step * 1e-6 <= one <= high + step * 1e-6 and math.isfinite(one)]
    return values, _tick_texts(values, step)


def _tick_texts(values: Sequence[float], step: float) -> list[str]:
    largest = max(map(abs, values), default=0.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(round(step, decimals) - step) > step / 100:
        decimals += 1  # a step of 2.5
    if decimals <= 6 and largest < 1e5:
        return [
            f"{value:.{decimals}f}".replace("-0", "0") if value == 0 else f"{value:.{decimals}f}" for value in values
        ]
    digits = min(max(3, math.ceil(math.log10(largest) - math.log10(step)) + 1), 12) if largest > step else 3
    return [f"{value:.{digits}g}" for value in values]


def _log_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Powers of ten within a range; 1, 2 and 5 of each where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, math.ceil((last - first) / _DECADES))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    values = [
        factor * 10.0**power
        for power in range(first - first % stride, last + 1, stride)
        for factor in factors
        if -323 < power < 308
    ]
    values = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    if not values:
        values = [low]
    plain = values[0] >= 1e-4 and values[-1] <= 1e7
    return values, [_plain(value) if plain else _power(value) for value in values]


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.5f}".rstrip("0")


def _power(value: float) -> str:
    """``10³``, ``2·10⁻⁵``."""
    power = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**power)
    return (f"{factor}·" if factor != 1 else "") + "10" + str(power).translate(_RAISED)
