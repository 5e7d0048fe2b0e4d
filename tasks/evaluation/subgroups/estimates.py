"""A measure on some of the cases: its value, how far each patient moves it, and its interval.

The moves are of one list of patients for all subgroups, so that of a patient who lies in several groups it is known how
far these vary together: the covariance of two groups is the sum over patients of the products of their moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.classification.weighted import BoolArray, mean_of_classes
from tasks.evaluation.classification.weighted_scores import Ranking
from tasks.evaluation.intervals.auroc import auroc_interval, clustered_auroc
from tasks.evaluation.intervals.ratios import FloatArray, IntArray, Ratios
from tasks.evaluation.intervals.scales import LOGIT, Scale, student_interval
from tasks.evaluation.intervals.share import UNKNOWN, Ends, share_interval
from tasks.evaluation.intervals.studentised import studentised_intervals
from tasks.evaluation.metric_values import LEAST_RESTS, NO_SPREAD, MetricValue, with_interval


@dataclass(frozen=True, eq=False)
class Estimate:
    """A measure on some of the cases.

    Attributes:
        values: ``(K,)`` of each class that it is the mean of, or the one value; NaN = undefined.
        moves: ``(G, K)`` how far each of all patients moves these; the squares add up to the variance.
        rests: ``(K,)`` patients of the smaller side that each rests on.
        n: cases that entered.
        patients: of these.
        positives: cases with the finding; None where it is not of one.
        most: ``(K,)`` cases (or boxes) that each can be worth at most; inf = a mean, which has no such limit.
        ends: 95 % interval of the mean over some of the K.
    """

    values: FloatArray
    moves: FloatArray
    rests: IntArray
    n: int
    patients: int
    positives: int | None
    most: FloatArray
    ends: Callable[[Estimate, list[int]], Ends]

    @property
    def known(self) -> list[int]:
        """Which of the K are defined, and rest on enough patients for an interval."""
        return np.flatnonzero(~np.isnan(self.values) & (self.rests >= LEAST_RESTS)).tolist()

    def value(self, columns: list[int]) -> float:
        """Mean over some of the K."""
        return float(mean_of_classes(self.values[None, columns])[0])

    def move(self, columns: list[int]) -> FloatArray:
        """How far each patient moves that mean, ``(G,)``; 0 where nothing is known of it."""
        if not columns:
            return np.zeros(len(self.moves))
        moves: FloatArray = np.nan_to_num(self.moves[:, columns].mean(axis=1))
        return moves

    def rest(self, columns: list[int]) -> int:
        """Patients of the smaller side behind that of some which has the fewest."""
        return int(self.rests[columns].min()) if columns else 0

    def metric(self, columns: list[int], *, of_several: bool = False) -> MetricValue:
        """The mean over some of the K with its interval, which is withheld of too few patients.

        Args:
            columns: which; without any it is the value of all, and withheld.
            of_several: it is a mean over classes.
        """
        wanted = columns or np.flatnonzero(~np.isnan(self.values)).tolist()
        value = self.value(wanted)
        ends = self.ends(self, columns) if columns else UNKNOWN
        return with_interval(
            (value, *ends),
            self.n,
            self.patients,
            len(wanted) if of_several else None,
            rests=self.rest(wanted),
            positives=self.positives,
            missing=NO_SPREAD,
        )


@dataclass(frozen=True, eq=False)
class Measure:
    """What is compared between subgroups.

    Attributes:
        name: as in ``metrics.json``, or of its own.
        label: as readers know it.
        scale: on which it is nearly normal.
        several: it is a mean over classes.
        estimate: of ``(n,)`` chosen cases.
        better: 1 where more is better, -1 where less is, 0 where neither (a bias).
    """

    name: str
    label: str
    scale: Scale
    several: bool
    estimate: Callable[[BoolArray], Estimate]
    better: int = 1


def ratio_estimator(
    numerator: NDArray[np.generic],
    denominator: NDArray[np.generic],
    groups: IntArray,
    scale: Scale,
    *,
    positives: NDArray[np.generic] | None = None,
    counted: BoolArray | None = None,
    sides: BoolArray | None = None,
    resamples: int = 0,
) -> Callable[[BoolArray], Estimate]:
    """Of shares of cases and means over cases: sums of a numerator over sums of a denominator.

    Args:
        numerator: ``(n, K)`` of each case, 0 where the denominator is.
        denominator: ``(n, K)`` >= 0.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        scale: of the ratio; a share of one class has Wilson's interval.
        positives: ``(n,)`` how many findings each case has; None = not counted.
        counted: ``(n,)`` cases that enter ``n``, as in ``metrics.json``; None = those with a denominator.
        sides: ``(n,)`` the case has the finding, where the ratio says nothing of cases of one side alone; it then rests
            on the patients of the smaller side. None = on all.
        resamples: of a studentised bootstrap, as means of masks have; 0 = Student's t.
    """
    part: FloatArray = np.asarray(numerator, dtype=np.float64)
    whole: FloatArray = np.asarray(denominator, dtype=np.float64)
    size = int(groups.max()) + 1 if len(groups) else 0

    def estimate(chosen: BoolArray) -> Estimate:
        own = groups[chosen]
        ratio = Ratios(_sums(part[chosen], own, size), _sums(whole[chosen], own, size))
        entered = (whole[chosen] > 0).any(axis=1) if counted is None else counted[chosen]

        share = scale is LOGIT and not resamples
        most: FloatArray = np.where(share, ratio.units, np.inf)
        rests = ratio.patients.astype(np.intp)
        if sides is not None:
            smaller = min(_count(own[entered & (sides[chosen] == side)]) for side in (True, False))
            rests = np.minimum(rests, smaller)

        def ends(this: Estimate, columns: list[int]) -> Ends:
            if resamples:
                return studentised_intervals(_present(ratio), {"": (columns, scale)}, resamples)[""]
            variance = float((this.move(columns) ** 2).sum())
            if scale is LOGIT and len(columns) == 1:
                return share_interval(this.value(columns), variance, float(ratio.units[columns[0]]), this.rest(columns))
            return student_interval(this.value(columns), variance, scale, this.rest(columns))

        return Estimate(
            ratio.value,
            ratio.moves,
            rests,
            int(entered.sum()),
            _count(own[entered]),
            None if positives is None else int(np.asarray(positives)[chosen].sum()),
            most,
            ends,
        )

    return estimate


def auroc_estimator(rankings: list[Ranking], groups: IntArray, *, one: bool) -> Callable[[BoolArray], Estimate]:
    """Of AUROC, or its mean over K classes or labels; the cases are sorted once for all subgroups.

    Args:
        rankings: of all cases, a class each.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        one: it is of one finding, whose cases are counted.
    """
    sizes = [np.diff(ranking.ends, prepend=-1) for ranking in rankings]
    levels = [np.repeat(np.arange(len(size)), size) for size in sizes]

    def estimate(chosen: BoolArray) -> Estimate:
        areas, entered = [], np.zeros(len(groups), dtype=bool)
        positives = 0
        for ranking, level in zip(rankings, levels, strict=True):
            kept = chosen[ranking.order]
            last = np.flatnonzero(np.diff(level[kept], append=-1))
            own = Ranking(ranking.order[kept], ranking.positive[kept], last)
            areas.append(clustered_auroc(own, groups))
            entered[own.order] = True
            positives = int(own.positive.sum())

        def ends(this: Estimate, columns: list[int]) -> Ends:
            if len(columns) == 1:
                return auroc_interval(areas[columns[0]])
            variance = float((this.move(columns) ** 2).sum())
            return student_interval(this.value(columns), variance, LOGIT, this.rest(columns))

        rests = np.array([area.smaller for area in areas], dtype=np.intp)
        return Estimate(
            np.array([area.value for area in areas]),
            np.stack([area.moves for area in areas], axis=1),
            rests,
            int(entered.sum()),
            _count(groups[entered]),
            positives if one else None,
            # In simulation a patient of the smaller side is worth three calls; twice that is luck of a small variance.
            (6.0 * rests).astype(np.float64),
            ends,
        )

    return estimate


def difference(first: Estimate, second: Estimate, columns: list[int]) -> MetricValue:
    """First less second, with an interval from the intervals of both and from how they vary together (MOVER).

    Source: G. Y. Zou and A. Donner, Construction of confidence limits about effect measures: a general approach,
    Statistics in Medicine 27:1693-1702, 2008.

    Args:
        first: of some cases.
        second: of others, whose patients may be the same.
        columns: which of the K classes; of both.
    """
    one, two = first.metric(columns), second.metric(columns)
    a, b = first.move(columns), second.move(columns)
    both = float(np.linalg.norm(a) * np.linalg.norm(b))
    together = min(1.0, max(-1.0, float(a @ b) / both)) if both > 0 else 0.0
    gap = one.value - two.value

    def reach(up: float, down: float) -> float:
        square = up**2 + down**2 - 2 * together * up * down
        return math.nan if math.isnan(square) else math.sqrt(max(0.0, square))

    low = gap - reach(one.value - one.low, two.high - two.value)
    high = gap + reach(one.high - one.value, two.value - two.low)
    return MetricValue(gap, low, high, one.n, one.classes, one.withheld or two.withheld, one.patients, one.positives)


def on_scale(value: float, variance: float, rests: int, most: float, scale: Scale, whole: float) -> tuple[float, float]:
    """A value and its standard error on a scale; NaN where the error is not known.

    A share gets one patient more, who has the value of the whole: where all of a subgroup's patients agree, its
    variance of 0 is no certainty, and its logit would have no end.

    Args:
        value: of the subgroup.
        variance: by patient.
        rests: patients that it rests on.
        most: cases that it can be worth at most.
        scale: of the measure.
        whole: value of all cases.
    """
    if scale is LOGIT:
        spread = value * (1 - value)
        worth = min(spread / variance, most) if variance > 0 and spread > 0 else float(rests)
        share = (worth * value + whole) / (worth + 1)
        if not 0 < share < 1:
            return math.nan, math.nan
        return math.log(share / (1 - share)), 1 / math.sqrt((worth + 1) * share * (1 - share))
    if not scale.lowest < value < scale.highest or not variance > 0:
        return math.nan, math.nan
    at = np.array([value])
    return float(scale.there(at)[0]), float(scale.slope(at)[0]) * math.sqrt(variance)


def _sums(values: FloatArray, groups: IntArray, size: int) -> FloatArray:
    """Sums over the cases of each of ``size`` patients, ``(size, K)``."""
    sums: FloatArray = np.zeros((size, values.shape[1]))
    for number, column in enumerate(values.T):
        sums[:, number] = np.bincount(groups, column, size)
    return sums


def _count(patients: IntArray) -> int:
    """How many there are of numbered patients."""
    return int(np.count_nonzero(np.bincount(patients)))


def _present(ratio: Ratios) -> Ratios:
    """The same of the patients who are in it."""
    there = (ratio.whole > 0).any(axis=1)
    return Ratios(ratio.part[there], ratio.whole[there])
