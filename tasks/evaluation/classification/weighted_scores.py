"""Statistics of scores that take case weights: areas under curves, Brier score, calibration error.

Shapes and weights as in :mod:`tasks.evaluation.classification.weighted`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.classification.weighted import BoolArray, FloatArray, divide

ECE_BINS = 15
# Above it a score has fewer digits left than its distance from 1, which the scores of the other classes give.
NEAR_ONE = 1 - 1e-9


@dataclass(frozen=True)
class Ranking:
    """The known cases of one class, best score first: sorted once, then used for every resample.

    Attributes:
        order: ``(m,)`` case numbers.
        positive: ``(m,)`` 1.0 where the case in that place has the finding.
        ends: ``(g,)`` last place of each group of equal scores.
    """

    order: NDArray[np.intp]
    positive: FloatArray
    ends: NDArray[np.intp]


def rank(score: FloatArray, target: BoolArray, known: BoolArray, rest: FloatArray | None = None) -> Ranking:
    """Sort the known cases of one class by score; each argument is ``(n,)``.

    Args:
        score: of the class.
        target: the case has the finding.
        known: the truth is known; other cases are left out.
        rest: sum of the scores of the other classes, where all of a case sum to 1. Cases whose score is so near to 1
            that rounding makes it 1 (a difference of 37 between two logits) are sorted by it, the smaller the better.
    """
    cases = np.flatnonzero(known)
    level, further = score[cases], np.zeros(len(cases))
    if rest is not None:
        further = np.where(level > NEAR_ONE, rest[cases], 0.0)
        level = np.minimum(level, NEAR_ONE)
    place = np.lexsort((further, -level))
    order = cases[place]
    last_of_group = np.append((np.diff(level[place]) != 0) | (np.diff(further[place]) != 0), True)[: len(order)]
    return Ranking(order, target[order].astype(np.float64), np.flatnonzero(last_of_group))


def ranking_areas(weights: FloatArray, ranking: Ranking) -> tuple[FloatArray, FloatArray]:
    """AUROC and AUPRC of one class, each ``(B,)``; NaN where a class is absent (AUPRC: where no case has the finding).

    AUROC is the Mann-Whitney statistic, ties counted half (J. A. Hanley and B. J. McNeil, Radiology 143:29-36, 1982).
    AUPRC is average precision, the sum of precision times step in recall over distinct scores, without interpolation.
    """
    if not len(ranking.order):
        undefined = np.full(len(weights), np.nan)
        return undefined, undefined.copy()
    drawn = weights[:, ranking.order]
    called = np.cumsum(drawn, axis=1)[:, ranking.ends]
    drawn *= ranking.positive
    found = np.cumsum(drawn, axis=1)[:, ranking.ends]
    positives, cases = found[:, -1], called[:, -1]
    negatives = cases - positives
    step = np.diff(found, axis=1, prepend=0.0)
    false = called - found
    # Negatives ranked below each group, those inside it counted half.
    beaten = negatives[:, None] - false + np.diff(false, axis=1, prepend=0.0) / 2
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    auroc = divide((step * beaten).sum(axis=1), positives * negatives)
    return auroc, divide((step * precision).sum(axis=1), positives)


def brier(weights: FloatArray, error: FloatArray, known: BoolArray) -> FloatArray:
    """Weighted mean of squared errors of probabilities, ``(B, L)``.

    Source: G. W. Brier, Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78:1-3, 1950.

    Args:
        weights: ``(B, n)``.
        error: ``(n, L)`` squared error of a case: (p - y)^2 for two classes, its sum over the classes for more.
        known: ``(n, L)``.
    """
    return divide(weights @ np.where(known, error, 0.0), weights @ known.astype(np.float64))


def calibration_error(
    weights: FloatArray, confidence: FloatArray, right: BoolArray, known: BoolArray, bins: int = ECE_BINS
) -> FloatArray:
    """Expected calibration error over bins of equal width, ``(B,)``.

    A bin holds its lower edge; a confidence of exactly 1 has a bin of its own, as in torchmetrics. Source: M. P. Naeini
    and others, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.

    Args:
        weights: ``(B, n)``.
        confidence: ``(n,)`` in [0, 1]: of the positive class for two classes, of the top class for more.
        right: ``(n,)`` the case is positive, or the top class is the true one.
        known: ``(n,)``.
        bins: how many.
    """
    place = calibration_bins(confidence, bins)
    gaps = np.zeros((len(confidence), bins + 1))
    gaps[np.arange(len(confidence)), place] = np.where(known, right - confidence, 0.0)
    return divide(np.abs(weights @ gaps).sum(axis=1), weights @ known.astype(np.float64))


def calibration_bins(confidence: FloatArray, bins: int = ECE_BINS) -> NDArray[np.intp]:
    """Bin of each confidence, ``(n,)`` in 0..bins: bins of equal width, the last for a confidence of exactly 1."""
    return np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="right") - 1, 0, bins)
