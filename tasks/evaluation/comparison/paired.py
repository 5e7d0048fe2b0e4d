"""The difference of two models on the same cases: what every method gives, and Student's t for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tasks.evaluation.intervals.quantiles import student
from tasks.evaluation.intervals.share import UNKNOWN, Ends
from tasks.evaluation.metric_values import NO_SPREAD, TOO_FEW_REST, WITHHELD, MetricValue, with_interval

SAME = "the models differ in no patient"
NOTHING = 1e-12  # a difference that is rounding


@dataclass(frozen=True)
class Paired:
    """A metric of the other model less that of the reference, on the same cases.

    Attributes:
        difference: in units of the metric; NaN = undefined.
        ends: of its 95 % interval; NaN = unknown.
        p: of the null hypothesis that there is no difference, two-sided; NaN = unknown.
        method: by which they were found, for readers.
        n: cases that entered.
        patients: that these are of.
        rests: patients on the smaller side that it rests on.
        wilcoxon: p of Wilcoxon's signed-rank test over patients, beside it; NaN = there is none.
        missing: why there is no interval where there are patients enough; empty = for want of any spread.
    """

    difference: float
    ends: Ends
    p: float
    method: str
    n: int
    patients: int
    rests: int
    wilcoxon: float = math.nan
    missing: str = ""

    @property
    def value(self) -> MetricValue:
        """The difference with its interval, which is withheld where too few patients are behind it."""
        missing = self.missing or (SAME if abs(self.difference) < NOTHING else NO_SPREAD)
        return with_interval((self.difference, *self.ends), self.n, self.patients, rests=self.rests, missing=missing)


def shown_p(pair: Paired) -> float:
    """The p of a pair; NaN where its interval is withheld for want of patients."""
    return math.nan if pair.value.withheld in (WITHHELD, TOO_FEW_REST) else pair.p


def student_test(difference: float, variance: float, patients: int) -> tuple[Ends, float]:
    """95 % interval and two-sided p by Student's t.

    Args:
        difference: of two models.
        variance: of it, by patient.
        patients: that the variance rests on: one more than the degrees of freedom.

    Returns:
        Ends, and p. Without any spread there is no interval, and p is 1 where there is no difference either.
    """
    if not math.isfinite(difference) or not math.isfinite(variance) or patients < 2:
        return UNKNOWN, math.nan
    error = math.sqrt(variance)
    if error <= 1e-9 * max(1e-3, abs(difference)):
        return UNKNOWN, 1.0 if abs(difference) < NOTHING else math.nan
    half = student(patients - 1) * error
    return (difference - half, difference + half), student_p(difference / error, patients - 1)


def student_p(statistic: float, degrees: int) -> float:
    """Two-sided p of Student's t."""
    from scipy.special import stdtr  # here: what reads tables alone needs no scipy

    return float(2 * stdtr(degrees, -abs(statistic)))
