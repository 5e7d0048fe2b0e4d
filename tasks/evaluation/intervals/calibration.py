"""Squared calibration error without the bias that chance adds to it.

A model that is calibrated perfectly has an expected calibration error above 0 in any sample, since each bin is off by
chance; its bootstrap is off once more, so that the value lay outside its own interval. Of the squared error the bias is
known, the variance of each bin, and is taken off. Source: A. Kumar, P. Liang and T. Ma, Verified uncertainty
calibration, NeurIPS 2019 (section 4); here the variance is that by patient.
"""

from __future__ import annotations

import numpy as np

from tasks.evaluation.bootstrap import FloatArray
from tasks.evaluation.classification.weighted import BoolArray, divide
from tasks.evaluation.classification.weighted_scores import ECE_BINS, calibration_bins
from tasks.evaluation.intervals.ratios import IntArray, patient_sums


class SquaredError:
    """Squared calibration error of one class over the bins of its expected calibration error."""

    def __init__(
        self, confidence: FloatArray, right: BoolArray, known: BoolArray, groups: IntArray, bins: int = ECE_BINS
    ) -> None:
        """Sort cases into bins.

        Args:
            confidence: ``(n,)`` in [0, 1].
            right: ``(n,)`` the case is positive, or the top class is the true one.
            known: ``(n,)``.
            groups: ``(n,)`` patient number of each case, 0..G-1.
            bins: how many.
        """
        place = calibration_bins(confidence, bins)
        cells = np.zeros((len(confidence), bins + 1))
        cells[np.arange(len(confidence)), place] = known
        self._gap = patient_sums(cells * (right - confidence)[:, None], groups)  # (G, bins)
        self._cases = patient_sums(cells, groups)
        self._patients = (self._cases > 0).astype(np.float64)
        # A patient's weight is that of his cases.
        self._first = np.unique(groups, return_index=True)[1]

    def __call__(self, weights: FloatArray) -> FloatArray:
        """Of weighted cases: ``(B, n)`` -> ``(B,)``; all cases of a patient have one weight. It may come below 0.

        The square of a bin with one patient has no spread to learn its bias from: none of it is counted.
        """
        weight = weights[:, self._first]
        cases, patients = weight @ self._cases, weight @ self._patients
        gap = np.nan_to_num(divide(weight @ self._gap, cases))
        around = (
            weight @ self._gap**2 - 2 * gap * (weight @ (self._gap * self._cases)) + gap**2 * (weight @ self._cases**2)
        )
        bias = np.nan_to_num(divide(patients * around, (patients - 1) * cases**2))
        squared = np.where(patients > 1, gap**2 - bias, 0.0)
        return divide((squared * cases).sum(axis=1), cases.sum(axis=1))
