"""What is gained by leaving the most uncertain cases to somebody else: risk-coverage curve and the errors caught.

Cases are taken from the least uncertain on; the risk at a coverage is the mean error of those taken, and AURC the mean
of these risks. Of cases that are equally uncertain each order is as good, and the mean over all orders is taken.
Source: Y. Geifman, G. Uziel and R. El-Yaniv, Bias-reduced uncertainty estimation for deep neural classifiers, ICLR
2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.evaluation.bootstrap import FloatArray
from tasks.evaluation.classification.weighted import BoolArray
from tasks.evaluation.intervals.ratios import IntArray, ratios
from tasks.evaluation.intervals.scales import LOG, LOGIT, student_interval
from tasks.evaluation.intervals.share import Ends, share_interval
from tasks.evaluation.metric_values import NO_SPREAD, MetricValue, with_interval


class RiskCoverage:
    """Cases sorted by uncertainty."""

    def __init__(self, uncertainty: FloatArray, error: FloatArray) -> None:
        """Sort the cases, the least uncertain first.

        Args:
            uncertainty: ``(n,)``.
            error: ``(n,)`` 0 and 1, or 0 and more.
        """
        self._order = np.argsort(uncertainty, kind="stable")
        level = uncertainty[self._order]
        self._last = np.flatnonzero(np.append(np.diff(level) != 0, True)[: len(level)])
        self._group = np.repeat(np.arange(len(self._last)), np.diff(self._last, prepend=-1))
        self._error = error[self._order]

    @cached_property
    def risks(self) -> FloatArray:
        """Mean error of the 1, 2, ..., n cases that are taken first, ``(n,)``."""
        wrong = np.cumsum(self._error)
        # Of a group of equals: what lies before it, and the mean error within it.
        before = np.append(0, self._last[:-1] + 1)
        wrong_before = np.append(0.0, wrong[self._last[:-1]])
        mean = (wrong[self._last] - wrong_before) / (self._last + 1 - before)
        inside = np.arange(1, len(wrong) + 1) - before[self._group]
        risks: FloatArray = wrong_before[self._group] + inside * mean[self._group]
        return risks / np.arange(1, len(wrong) + 1)

    @property
    def area(self) -> float:
        """AURC; NaN without a case."""
        return float(self.risks.mean()) if len(self.risks) else math.nan

    @cached_property
    def moves(self) -> FloatArray:
        """How far each case moves AURC, ``(n,)`` in the order given: its derivative by the case's weight."""
        taken = np.arange(1.0, len(self.risks) + 1)
        later = np.cumsum((1 / taken)[::-1])[::-1]
        risk_later = np.cumsum((self.risks / taken)[::-1])[::-1]
        # Each of a group of equals is at each of its places as often.
        count = np.bincount(self._group)
        own, later, risk_later = (
            (np.bincount(self._group, values) / count)[self._group] for values in (self.risks, later, risk_later)
        )
        moves: FloatArray = np.empty_like(self._error)
        moves[self._order] = (own + self._error * later - risk_later - self.area) / len(taken)
        return moves


@dataclass(frozen=True, eq=False)
class Curve:
    """A risk-coverage curve at some coverages.

    Attributes:
        coverage: ``(m,)`` share of the cases that are kept.
        risk: ``(m,)`` their mean error.
        low: ``(m,)`` lower end of its interval; NaN = unknown.
        high: ``(m,)`` upper end.
        best: ``(m,)`` risk if cases were sorted by their very errors.
    """

    coverage: FloatArray
    risk: FloatArray
    low: FloatArray
    high: FloatArray
    best: FloatArray


def risk_curve(
    uncertainty: FloatArray, error: FloatArray, groups: IntArray, points: int = 41, *, share: bool = True
) -> Curve:
    """The curve, with intervals by patient.

    Args:
        uncertainty: ``(n,)``, n at least 1.
        error: ``(n,)``.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        points: most points.
        share: the error is 0 or 1.
    """
    n = len(error)
    risk, best = RiskCoverage(uncertainty, error).risks, RiskCoverage(error, error).risks
    places = np.unique(np.ceil(np.linspace(1 / points, 1, points) * n).astype(np.intp)) - 1
    rank = np.argsort(np.argsort(uncertainty, kind="stable"), kind="stable")
    ends = [_kept_interval(rank <= place, error, groups, share) for place in places]
    low, high = (np.array(side, dtype=np.float64) for side in zip(*ends, strict=True))
    inside = (low <= risk[places]) & (risk[places] <= high)  # a group of equals is cut at random
    return Curve(
        (places + 1) / n, risk[places], np.where(inside, low, np.nan), np.where(inside, high, np.nan), best[places]
    )


def _kept_interval(kept: BoolArray, error: FloatArray, groups: IntArray, share: bool) -> Ends:
    ratio = ratios((error * kept)[:, None], kept[:, None], groups)
    value, variance, patients = float(ratio.value[0]), float(ratio.variance[0]), int(ratio.patients[0])
    if share:
        return share_interval(value, variance, float(ratio.units[0]), patients)
    return student_interval(value, variance, LOG, patients)


def aurc(uncertainty: FloatArray, error: FloatArray, groups: IntArray, *, share: bool = True) -> MetricValue:
    """Area under the risk-coverage curve, with its interval from how far each patient moves it.

    Args:
        uncertainty: ``(n,)``.
        error: ``(n,)``.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        share: the error is 0 or 1.
    """
    n = len(error)
    if not n:
        return MetricValue(math.nan, math.nan, math.nan, 0, patients=0)
    curve = RiskCoverage(uncertainty, error)
    patients = len(np.unique(groups))
    moved = np.bincount(groups, curve.moves)
    variance = float(moved @ moved) * patients / (patients - 1) if patients > 1 else math.nan
    ends = student_interval(curve.area, variance, LOGIT if share else LOG, patients)
    return with_interval((curve.area, *ends), n, patients, missing=NO_SPREAD)


def caught(uncertainty: FloatArray, error: FloatArray, groups: IntArray, part: float) -> tuple[int, MetricValue]:
    """Of the errors the share that is among the most uncertain cases, and how many cases these are.

    Args:
        uncertainty: ``(n,)``.
        error: ``(n,)``, 0 and 1 or 0 and more: then the share of their sum.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        part: of the cases that are read again, 0..1.
    """
    n = len(error)
    count = math.ceil(part * n - 1e-9)
    read = np.zeros(n, dtype=bool)
    read[np.argsort(-uncertainty, kind="stable")[:count]] = True
    ratio = ratios((error * read)[:, None], error[:, None], groups)
    value, patients = float(ratio.value[0]), int(ratio.patients[0])
    ends = share_interval(value, float(ratio.variance[0]), float(ratio.units[0]), patients)
    return count, with_interval((value, *ends), n, len(np.unique(groups)), rests=patients)
