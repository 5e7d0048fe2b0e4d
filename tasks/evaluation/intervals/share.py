"""95 % interval of a share (sensitivity, precision, accuracy, ...) whose cases come in patients.

Wilson's score interval for as many cases as would give the same variance if each were a patient of its own:
n = p (1 - p) / variance by patient, never more than there are. Where the variance is 0 (all right, all wrong) n is the
number of patients: of their agreement nothing is known. Student's t in place of the normal quantile makes up for a
variance that is known from few patients, by the factor of the survey statistics' intervals. Sources: E. B. Wilson,
JASA 22:209-212, 1927; E. L. Korn and B. I. Graubard, Confidence intervals for proportions with small expected number
of positive counts estimated from survey data, Survey Methodology 24:193-201, 1998.
"""

from __future__ import annotations

import math

from tasks.evaluation.intervals.quantiles import NORMAL, student
from tasks.evaluation.intervals.ratios import Ratios

Ends = tuple[float, float]
UNKNOWN: Ends = (math.nan, math.nan)


def wilson(share: float, n: float, quantile: float = NORMAL) -> Ends:
    """Wilson's score interval without correction for continuity.

    Args:
        share: 0..1.
        n: observations above 0, whole or not.
        quantile: of the distribution, 1.96 for 95 %.
    """
    square = quantile**2 / n
    centre = (share + square / 2) / (1 + square)
    half = quantile / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    # At 0 and at 1 an end is exact, and rounding must not put it on the wrong side.
    low = 0.0 if share <= 0 else min(share, max(0.0, centre - half))
    return low, 1.0 if share >= 1 else max(share, min(1.0, centre + half))


def share_intervals(ratios: Ratios) -> list[Ends]:
    """Interval of each of several shares over the same patients."""
    columns = zip(ratios.value, ratios.variance, ratios.units, ratios.patients, strict=True)
    return [
        share_interval(float(share), float(variance), float(units), int(patients))
        for share, variance, units, patients in columns
    ]


def share_interval(share: float, variance: float, units: float, patients: int) -> Ends:
    """Interval of a share; NaN of fewer than two patients.

    Args:
        share: 0..1.
        variance: of the share, by patient.
        units: cases (or true boxes) that it is a share of.
        patients: that these are of.
    """
    if patients < 2 or not math.isfinite(share):
        return UNKNOWN
    spread = share * (1 - share)
    n = min(spread / variance, units) if variance > 0 and spread > 0 else float(patients)
    return wilson(share, n, student(patients - 1))
