"""ROC, precision-recall and FROC curves with pointwise 95 % bands by patient.

A band is made by vertical averaging (T. Fawcett, An introduction to ROC analysis, Pattern Recognition Letters
27:861-874, 2006): at each false positive rate the sensitivities of resampled patients are compared, so that the
uncertainty of the threshold is in it. Their variance makes a number of cases that would vary as much, and Wilson's
interval of a share with it (:mod:`tasks.evaluation.intervals.share`): the percentiles themselves have no width where
every resample finds everything. Precision at a recall likewise.

A band holds the truth at each place with 95 %; that it holds the whole curve at once is less likely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.classification.weighted import FloatArray, divide
from tasks.evaluation.decisions.levels import Counted, Levels
from tasks.evaluation.intervals.share import share_interval
from tasks.evaluation.metric_values import LEAST_PATIENTS, LEAST_RESTS

GRID = np.concatenate([np.linspace(0, 0.05, 11), np.linspace(0.06, 0.94, 45), np.linspace(0.95, 1, 11)])
RATES = np.geomspace(1 / 16, 16, 49)  # false positives an image
RESAMPLES = 500  # more change a band by less than its line is wide
MOST_POINTS = 400  # of a drawn curve


@dataclass(frozen=True, eq=False)
class BandedCurve:
    """A curve with its band.

    Attributes:
        x: ``(m,)`` ascending; a vertical stretch has two points.
        y: ``(m,)``.
        low: ``(m,)`` lower end of the band; None where too few patients are behind it.
        high: ``(m,)`` upper end.
    """

    x: FloatArray
    y: FloatArray
    low: FloatArray | None
    high: FloatArray | None


# Heights of the curves of B resamples at each place of a grid, ``(B, T)``, and what each is a share of.
Heights = Callable[[Counted, FloatArray], tuple[FloatArray, FloatArray]]


def roc(levels: Levels, resamples: int = RESAMPLES, seed: int = 0) -> BandedCurve | None:
    """Sensitivity at each false positive rate; straight lines through ties. None where a side is absent.

    Args:
        levels: of a finding.
        resamples: of patients; 0 = no band.
        seed: of the draws.
    """
    counts = levels.counted()
    if not counts.positives[0] or not counts.others[0]:
        return None
    x, y = np.append(0.0, counts.fp[0] / counts.others[0]), np.append(0.0, counts.tp[0] / counts.positives[0])
    x, y = _corners(x, y)
    low, high = _band(levels, GRID, _sensitivity, resamples, seed)
    return _joined(x, y, GRID, low, high, np.interp)


def froc(levels: Levels, resamples: int = RESAMPLES, seed: int = 0) -> BandedCurve | None:
    """Share of the true boxes found at each rate of false positives an image; None without a true box.

    Right of the last box its sensitivity holds, as in the score. Arguments as in :func:`roc`.
    """
    counts = levels.counted()
    if not counts.positives[0] or not counts.others[0]:
        return None
    most = float(counts.fp[0, -1] / counts.others[0]) if counts.fp.shape[1] else 0.0
    rates = RATES[: np.searchsorted(RATES, max(8.0, most), side="right")]
    x = np.append(0.0, counts.fp[0] / counts.others[0])
    y = np.append(0.0, counts.tp[0] / counts.positives[0])
    x, y = _corners(x, y)
    low, high = _band(levels, rates, _sensitivity, resamples, seed)
    seen = (x >= rates[0]) & (x <= rates[-1])
    return _joined(x[seen], y[seen], rates, low, high, lambda at, _x, _y: _sensitivity(counts, at)[0][0])


def precision_recall(levels: Levels, resamples: int = RESAMPLES, seed: int = 0) -> BandedCurve | None:
    """Precision at each recall, in the steps that average precision is the area of: ``y`` holds up to the next ``x``.

    None where no case has the finding. Arguments as in :func:`roc`.
    """
    counts = levels.counted()
    if not counts.positives[0]:
        return None
    rises = np.diff(counts.tp[0], prepend=0.0) > 0
    recall = counts.tp[0, rises] / counts.positives[0]
    precision = counts.tp[0, rises] / (counts.tp[0, rises] + counts.fp[0, rises])
    x, y = np.append(0.0, recall), np.append(precision, precision[-1])
    if len(x) > MOST_POINTS:
        kept = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).astype(np.intp))
        x, y = x[kept], y[kept]
    grid = GRID[GRID < 1]
    low, high = _band(levels, grid, _precision, resamples, seed)
    return _joined(x, y, grid, low, high, lambda at, own, heights: heights[np.searchsorted(own, at, side="right") - 1])


def _sensitivity(counts: Counted, at: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of straight lines through the points; on a vertical stretch its upper end, right of the end the last holds."""
    heights = np.full((len(counts.tp), len(at)), np.nan)
    sums = zip(counts.tp, counts.fp, counts.positives, counts.others, strict=True)
    for number, (tp, fp, positives, others) in enumerate(sums):
        if positives > 0 and others > 0:
            x, y = np.append(0.0, fp / others), np.append(0.0, tp / positives)
            left = np.searchsorted(x, at, side="right") - 1
            right = np.minimum(left + 1, len(x) - 1)
            share = np.divide(at - x[left], x[right] - x[left], out=np.zeros(len(at)), where=x[right] > x[left])
            heights[number] = y[left] + share * (y[right] - y[left])
    return heights, np.broadcast_to(counts.positives[:, None], heights.shape)


def _precision(counts: Counted, at: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Precision where recall first exceeds each place, and the calls there; NaN where nothing is to be found."""
    tp, fp = np.zeros((len(counts.tp), len(at))), np.zeros((len(counts.tp), len(at)))
    for number, (right, wrong, positives) in enumerate(zip(counts.tp, counts.fp, counts.positives, strict=True)):
        if positives > 0:
            place = np.minimum(np.searchsorted(right / positives, at, side="right"), len(right) - 1)
            tp[number], fp[number] = right[place], wrong[place]
    return divide(tp, tp + fp), tp + fp


def _band(
    levels: Levels, at: FloatArray, heights: Heights, resamples: int, seed: int
) -> tuple[FloatArray, FloatArray] | tuple[None, None]:
    """Ends of the band at each place; none of too few patients."""
    if not resamples or levels.patients < LEAST_PATIENTS or levels.smaller < LEAST_RESTS:
        return None, None
    (value,), (units,) = heights(levels.counted(), at)
    drawn = np.concatenate([heights(levels.counted(weights), at)[0] for weights in levels.resampled(resamples, seed)])
    with np.errstate(invalid="ignore"):
        variance = np.array([each[~np.isnan(each)].var() if (~np.isnan(each)).any() else 0.0 for each in drawn.T])
    # A precision among few calls rests on the patients of these, of whom there are no more than calls.
    ends = [
        share_interval(float(share), float(spread), float(unit), max(2, min(levels.smaller, int(unit))))
        for share, spread, unit in zip(value, variance, units, strict=True)
    ]
    low, high = np.array(ends).T
    return low, high


def height_at(curve: BandedCurve, at: float) -> tuple[float, float, float]:
    """Height of a curve of straight lines at one place, with the ends of its band, NaN without one."""
    value = float(curve.y[np.searchsorted(curve.x, at, side="right") - 1]) if at in curve.x else None
    if value is None:
        value = float(np.interp(at, curve.x, curve.y))
    if curve.low is None or curve.high is None:
        return value, np.nan, np.nan
    low, high = (float(np.interp(at, curve.x, end)) for end in (curve.low, curve.high))
    return value, min(low, value), max(high, value)


def _corners(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points on the way of a straight line along an axis are left out, and of many some."""
    if len(x) > 2:
        level = (np.diff(y) == 0) if len(y) else np.zeros(0, dtype=bool)
        upright = np.diff(x) == 0
        between = np.concatenate([[False], (level[:-1] & level[1:]) | (upright[:-1] & upright[1:]), [False]])
        x, y = x[~between], y[~between]
    if len(x) > MOST_POINTS:
        kept = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).astype(np.intp))
        x, y = x[kept], y[kept]
    return x, y


def _joined(
    x: FloatArray,
    y: FloatArray,
    grid: FloatArray,
    low: FloatArray | None,
    high: FloatArray | None,
    height: Callable[[FloatArray, FloatArray, FloatArray], FloatArray],
) -> BandedCurve:
    """The points of the curve and the places of the band in one order."""
    if low is None or high is None:
        return BandedCurve(x, y, None, None)
    new = grid[~np.isin(grid, x)]
    every = np.concatenate([x, new])
    heights = np.concatenate([y, height(new, x, y)])
    order = np.argsort(every, kind="stable")
    every, heights = every[order], heights[order]
    return BandedCurve(
        every,
        heights,
        np.minimum(heights, np.interp(every, grid, low)),
        np.maximum(heights, np.interp(every, grid, high)),
    )
