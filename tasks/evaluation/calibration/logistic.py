"""Logistic regression by Newton's method, with the covariance by patient.

Ours, because statsmodels is no dependency of the suite and scikit-learn's has no offset and no covariance; both are
references in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.evaluation.calibration.maps import FloatArray, expit
from tasks.evaluation.intervals.ratios import IntArray, patient_sums

_STEPS = 100
_FLAT = 1e-10  # of the likelihood's slope, by case
# Where a single pair of cases is in the wrong order, or tied, the loss is 2 ln 2 at the least: below this one both
# outcomes are told apart without a mistake, and the coefficients grow without end.
_NO_MISTAKE = 0.5


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted regression.

    Attributes:
        coefficients: ``(p,)``.
        share: ``(n,)`` fitted chance of each case.
        information: ``(p, p)`` of the likelihood.
    """

    coefficients: FloatArray
    share: FloatArray
    information: FloatArray


def logistic(design: FloatArray, outcome: FloatArray, offset: FloatArray | None = None) -> Fit | None:
    """The coefficients of greatest likelihood; None where there are none: told apart without a mistake, or no spread.

    Args:
        design: ``(n, p)``.
        outcome: ``(n,)`` in [0, 1]: 0 and 1, or shares.
        offset: ``(n,)`` added to the logit; None = 0.
    """
    base = np.zeros(len(outcome)) if offset is None else offset
    coefficients = np.zeros(design.shape[1])
    loss = _loss(base, outcome)
    for _ in range(_STEPS):
        share = expit(base + design @ coefficients)
        gradient = design.T @ (outcome - share)
        information = (design * (share * (1 - share))[:, None]).T @ design
        if np.abs(gradient).max(initial=0.0) <= _FLAT * max(1, len(outcome)):
            return Fit(coefficients, share, information) if _solvable(information) else None
        if not _solvable(information):
            return None
        step = np.linalg.solve(information, gradient)
        while True:
            new = coefficients + step
            after = _loss(base + design @ new, outcome)
            if after <= loss + 1e-12 * abs(loss) or np.abs(step).max() < 1e-12:
                break
            step = step / 2
        if after < _NO_MISTAKE:
            return None
        if np.abs(new - coefficients).max() < 1e-13 * max(1.0, float(np.abs(new).max())):
            return Fit(new, share, information)
        coefficients, loss = new, after
    return None


def _loss(logit: FloatArray, outcome: FloatArray) -> float:
    return float((np.logaddexp(0, logit) - outcome * logit).sum())


def _solvable(information: FloatArray) -> bool:
    return bool(np.isfinite(information).all()) and bool(np.linalg.cond(information) < 1e14)


def clustered_covariance(fit: Fit, design: FloatArray, outcome: FloatArray, groups: IntArray) -> FloatArray:
    """``(p, p)`` covariance of the coefficients where cases of one patient are correlated; NaN of one patient.

    Source: K.-Y. Liang and S. L. Zeger, Longitudinal data analysis using generalized linear models, Biometrika
    73:13-22, 1986; with the correction for few patients that statsmodels and Stata have.

    Args:
        fit: of the regression.
        design: ``(n, p)`` as it was fitted.
        outcome: ``(n,)``.
        groups: ``(n,)`` patient number of each case, 0..G-1.
    """
    n, p = design.shape
    patients = int(groups.max()) + 1
    if patients < 2 or n <= p:
        return np.full((p, p), np.nan)
    moves = patient_sums(design * (outcome - fit.share)[:, None], groups)
    inverse = np.linalg.inv(fit.information)
    correction = patients / (patients - 1) * (n - 1) / (n - p)
    covariance: FloatArray = correction * inverse @ (moves.T @ moves) @ inverse
    return covariance
