"""Agreement of predicted and true numbers: bias and limits of agreement, several measurements a patient.

The limits are those between which 95 % of the differences lie (J. M. Bland and D. G. Altman, Lancet 327:307-310, 1986).
Where a patient has several, the variance is that between patients and that within them together, where the true value
varies (J. M. Bland and D. G. Altman, Agreement between methods of measurement with multiple observations per
individual, Journal of Biopharmaceutical Statistics 17:571-582, 2007). The intervals of the limits are put together from
those of their parts (G. Y. Zou, Confidence interval estimation for the Bland-Altman limits of agreement with multiple
observations per individual, Statistical Methods in Medical Research 22:630-642, 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.intervals.quantiles import NORMAL, student
from tasks.evaluation.intervals.ratios import IntArray
from tasks.evaluation.metric_values import NO_SPREAD, MetricValue, with_interval


@dataclass(frozen=True)
class Agreement:
    """Differences, predicted - true.

    Attributes:
        bias: their mean over patients.
        lower: lower limit of agreement: 95 % of the differences of further patients lie above it and below the other.
        upper: upper limit.
        spread: standard deviation of a difference, between and within patients.
    """

    bias: MetricValue
    lower: MetricValue
    upper: MetricValue
    spread: float


def agreement(difference: FloatArray, groups: IntArray) -> Agreement:
    """Bias and limits of agreement, with intervals; NaN of a single patient.

    Args:
        difference: ``(n,)`` predicted - true.
        groups: ``(n,)`` patient number of each.
    """
    from scipy.stats import chi2  # here: slow to import

    numbers = np.unique(groups, return_inverse=True)[1]
    measured = np.bincount(numbers).astype(np.float64)
    patients, n = len(measured), len(difference)
    means = np.bincount(numbers, difference) / measured
    bias = float(means.mean()) if patients else math.nan
    if patients < 2:
        nothing = MetricValue(math.nan, math.nan, math.nan, n, patients=patients)
        return Agreement(MetricValue(bias, math.nan, math.nan, n, patients=patients), nothing, nothing, math.nan)
    between = float(means.var(ddof=1))
    # Of the squares within, the share that is not in the variance of means already.
    inside = 1 - float((1 / measured).mean())
    within = float(((difference - means[numbers]) ** 2).sum()) / (n - patients) if n > patients else 0.0
    variance = between + inside * within
    spread = math.sqrt(variance)
    below = above = 0.0
    for part, degrees in ((between, patients - 1), (inside * within, n - patients)):
        if part > 0 and degrees > 0:
            low, high = degrees / chi2.ppf([0.975, 0.025], degrees)
            below += (part * (1 - low)) ** 2
            above += (part * (high - 1)) ** 2
    least, most = math.sqrt(max(0.0, variance - math.sqrt(below))), math.sqrt(variance + math.sqrt(above))
    error = student(patients - 1) * math.sqrt(between / patients)
    near, far = math.hypot(error, NORMAL * (spread - least)), math.hypot(error, NORMAL * (most - spread))

    def value(number: float, low: float, high: float) -> MetricValue:
        ends = (math.nan, math.nan) if variance <= 0 else (low, high)
        return with_interval((number, *ends), n, patients, missing=NO_SPREAD)

    lower, upper = bias - NORMAL * spread, bias + NORMAL * spread
    return Agreement(
        value(bias, bias - error, bias + error),
        value(lower, lower - far, lower + near),
        value(upper, upper - near, upper + far),
        spread,
    )
