"""Calibration slope and intercept, and the test of both, by patient.

The outcome is regressed on the logit of the score: logit(outcome) = a + b logit(score). Scores are calibrated where
b = 1 and a = 0; b < 1 says that they are too near to 0 and 1 (over-confident), b > 1 that they are not near enough.
"In the large" is a where b is held at 1: above 0 there are more findings than the scores say. Sources: D. R. Cox, Two
further applications of a model for binary regression, Biometrika 45:562-565, 1958; B. Van Calster and others, A
calibration hierarchy for risk models was defined, J. Clin. Epidemiol. 74:167-176, 2016.

The test asks whether both hold at once. It is the score test: what each patient adds to the likelihood's slope at b = 1
and a = 0 has a mean of 0 there, by Hotelling's T2 over patients. It needs no fit, so that a model which tells apart
without a mistake can be tested. Of a rare finding that by
chance is rarer still, patients vary too little: p is not below that of the variance which the scores themselves expect,
which takes cases for independent. Source: D. D. Boos, On generalized score tests, The American Statistician 46:327-333,
1992.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.calibration.logistic import Fit, clustered_covariance, logistic
from tasks.evaluation.calibration.maps import FloatArray, logarithms
from tasks.evaluation.calibration.scored import Finding
from tasks.evaluation.intervals.quantiles import student
from tasks.evaluation.intervals.ratios import patient_sums
from tasks.evaluation.metric_values import MetricValue, with_interval

_SPREAD = 1e-9  # of logits: less is none
NO_FIT = "told apart without a mistake, or all scores are the same"


@dataclass(frozen=True)
class Recalibration:
    """Calibration by regression on the logit.

    Attributes:
        slope: b.
        intercept: a beside it.
        in_the_large: a where b is 1.
        off: mean distance of the scores from what the regression makes of them, 0..1; NaN where all cases are alike.
        p: of the test that b = 1 and a = 0; NaN where too few patients are behind it.
    """

    slope: MetricValue
    intercept: MetricValue
    in_the_large: MetricValue
    off: float
    p: float


def recalibration(finding: Finding) -> Recalibration:
    """Slope, intercept and test of one finding."""
    there, absent = logarithms(finding.score, finding.rest)
    logit, outcome = there - absent, finding.there.astype(np.float64)
    ones = np.ones((len(logit), 1))
    both, one = np.hstack([ones, logit[:, None]]), ones
    some = len(logit) > 0 and finding.smaller > 0
    fit = logistic(both, outcome) if some and np.ptp(logit) > _SPREAD else None
    large = logistic(one, outcome, logit) if some else None
    intercept, slope = _values(fit, both, outcome, finding)
    # Where both are told apart without a mistake no regression ends, and the outcome is what it goes towards.
    nearest = fit.share if fit is not None else outcome
    off = float(np.abs(nearest - finding.score).mean()) if some else math.nan
    return Recalibration(slope, intercept, _values(large, one, outcome, finding)[0], off, p_of_calibration(finding))


def _values(fit: Fit | None, design: FloatArray, outcome: FloatArray, finding: Finding) -> list[MetricValue]:
    ends = np.full((design.shape[1], 3), np.nan)
    if fit is not None:
        variance = np.diag(clustered_covariance(fit, design, outcome, finding.groups))
        half = np.sqrt(variance) * (student(finding.patients - 1) if finding.patients > 1 else math.nan)
        ends = np.stack([fit.coefficients, fit.coefficients - half, fit.coefficients + half], axis=1)
    n, positives = len(outcome), int(outcome.sum())
    return [
        with_interval(
            (float(value), float(low), float(high)),
            n,
            finding.patients,
            rests=finding.smaller,
            positives=positives,
            missing=NO_FIT,
        )
        for value, low, high in ends
    ]


def p_of_calibration(finding: Finding) -> float:
    """The p-value of slope 1 and intercept 0 at once; NaN of fewer than four patients.

    Args:
        finding: scores beside the truth.
    """
    from scipy.stats import chi2, f  # here: what reads tables alone needs no scipy

    patients = finding.patients
    if patients < 4:
        return math.nan
    there, absent = logarithms(finding.score, finding.rest)
    logit = there - absent
    error = np.where(finding.there, finding.rest, -finding.score)
    # About the middle of the logits, so that the two are nearly independent; of scores all the same the first is all.
    design = np.stack([np.ones_like(logit), logit - logit.mean()], axis=1)[:, : 2 if np.ptp(logit) > _SPREAD else 1]
    added = patient_sums(design * error[:, None], finding.groups)
    mean, around = added.mean(axis=0), added - added.mean(axis=0)
    covariance = around.T @ around / (patients - 1)
    if not np.isfinite(covariance).all() or not covariance.any() or np.linalg.cond(covariance) > 1e14:
        return math.nan
    asked = len(mean)
    squared = patients * float(mean @ np.linalg.solve(covariance, mean))
    by_patient = float(f.sf(squared * (patients - asked) / (asked * (patients - 1)), asked, patients - asked))
    total, expected = mean * patients, (design * (finding.score * finding.rest)[:, None]).T @ design
    if not np.linalg.cond(expected) < 1e14:  # all scores are 0 or 1: nothing but the cases says how far they may be off
        return by_patient
    return max(by_patient, float(chi2.sf(float(total @ np.linalg.solve(expected, total)), asked)))
