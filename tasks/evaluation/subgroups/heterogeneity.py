"""Whether a measure differs between subgroups more than chance explains.

Cochran's Q, the weighted squares of the estimates about their mean, with Welch's correction for errors that are
themselves estimated from few patients. Where patients lie in several groups, the estimates vary together, and Q becomes
the quadratic form of their covariance, which is the same where they do not. Sources: W. G. Cochran, The combination of
estimates from different experiments, Biometrics 10:101-129, 1954; B. L. Welch, On the comparison of several mean
values: an alternative approach, Biometrika 38:330-336, 1951; L. J. Gleser and I. Olkin, Stochastically dependent effect
sizes, The Handbook of Research Synthesis, Russell Sage, 1994.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.intervals.ratios import FloatArray, IntArray

PRIOR = 20.0  # patients


@dataclass(frozen=True)
class Heterogeneity:
    """Test of k subgroups.

    Attributes:
        q: Cochran's Q, or its quadratic form; NaN = no test.
        groups: k, of those that have a value and an error.
        p: 0..1; NaN = no test.
    """

    q: float
    groups: int
    p: float


def moderated(errors: FloatArray, rests: IntArray, prior: float = PRIOR) -> FloatArray:
    """Standard errors drawn towards those that a spread common to all subgroups would give.

    Of few patients with skewed errors the spread is small where the mean is, by the same luck, and a test of many such
    subgroups rejects too often.

    Args:
        errors: ``(k,)`` of means over patients; NaN stays and counts for none.
        rests: ``(k,)`` patients that each rests on.
        prior: patients that the common spread is worth.
    """
    own, degrees = errors**2 * rests, np.maximum(rests - 1, 0).astype(np.float64)
    known = np.isfinite(own)
    if not degrees[known].sum():
        return errors
    common = float(own[known] @ degrees[known] / degrees[known].sum())
    drawn: FloatArray = np.sqrt((prior * common + degrees * own) / (prior + degrees) / np.maximum(rests, 1))
    return drawn


def heterogeneity(values: FloatArray, errors: FloatArray, moves: FloatArray, rests: IntArray) -> Heterogeneity:
    """Test whether k subgroups have one value.

    Args:
        values: ``(k,)`` on the scale of the measure; NaN = left out.
        errors: ``(k,)`` standard errors there; NaN = left out.
        moves: ``(G, k)`` how far each patient moves the estimate of each subgroup, on any scale: how the estimates vary
            together is read from them.
        rests: ``(k,)`` patients that each error rests on.
    """
    kept = np.isfinite(values) & np.isfinite(errors) & (errors > 0) & (rests > 1)
    groups = int(kept.sum())
    if groups < 2:
        return Heterogeneity(math.nan, groups, math.nan)
    from scipy.special import fdtrc  # here: what reads tables alone needs no scipy

    values, errors, moves, rests = values[kept], errors[kept], moves[:, kept], rests[kept]
    length = np.sqrt((moves**2).sum(axis=0))
    unit = np.divide(moves, length, out=np.zeros_like(moves), where=length > 0)
    together = unit.T @ unit
    np.fill_diagonal(together, 1.0)
    covariance = together * errors[:, None] * errors
    # Each less the first: the quadratic form of these differences is Q.
    contrast = np.hstack([-np.ones((groups - 1, 1)), np.eye(groups - 1)])
    gaps, spread = contrast @ values, contrast @ covariance @ contrast.T
    q = float(gaps @ np.linalg.pinv(spread, hermitian=True) @ gaps)
    degrees = int(np.linalg.matrix_rank(spread, hermitian=True))
    weights = errors**-2.0
    shares = ((1 - weights / weights.sum()) ** 2 / (rests - 1)).sum()
    statistic = q / degrees / (1 + 2 * (groups - 2) / (groups**2 - 1) * shares)
    below = (groups**2 - 1) / (3 * shares)
    if not np.allclose(together, np.eye(groups)):
        # Of the same patients it rests on no more than these.
        below = min(below, float((np.abs(moves).sum(axis=1) > 0).sum() - 1))
    return Heterogeneity(q, groups, float(fdtrc(degrees, max(1.0, below), statistic)))
