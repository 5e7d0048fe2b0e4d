"""AUROC with the variance of DeLong, scans of one patient taken together.

The variance by patients is that of N. A. Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics
53:567-578, 1997; where each case is a patient of its own it is that of E. R. DeLong, D. M. DeLong and
D. L. Clarke-Pearson, Biometrics 44:837-845, 1988. The interval lies on the logit scale, with Student's t of the smaller
side's patients less one: the variance of an AUROC rests upon its few positives (or negatives).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.classification.weighted_scores import Ranking
from tasks.evaluation.intervals.ratios import FloatArray, IntArray
from tasks.evaluation.intervals.scales import LOGIT, student_interval
from tasks.evaluation.intervals.share import Ends


@dataclass(frozen=True)
class Auroc:
    """An AUROC and what each of G patients adds to it.

    Attributes:
        value: 0..1; NaN where one side is absent.
        positive: ``(G,)`` sum over the patient's positive cases of (share of the negatives that it outranks, ties half,
            less the AUROC) / number of positives.
        negative: ``(G,)`` the same of the negative cases: share of the positives that outrank it.
        with_positive: patients with a positive case.
        with_negative: patients with a negative case; a patient may be on both sides.
        patients: with any.
    """

    value: float
    positive: FloatArray
    negative: FloatArray
    with_positive: int
    with_negative: int
    patients: int

    @property
    def smaller(self) -> int:
        """Patients of the side that has fewer."""
        return min(self.with_positive, self.with_negative)

    @property
    def variance(self) -> float:
        """Obuchowski's; NaN where a side has fewer than two patients."""
        if self.smaller < 2:
            return math.nan
        of_positive = _factor(self.with_positive) * float(self.positive @ self.positive)
        of_negative = _factor(self.with_negative) * float(self.negative @ self.negative)
        return of_positive + of_negative + 2 * _factor(self.patients) * float(self.positive @ self.negative)

    @property
    def moves(self) -> FloatArray:
        """How far each patient moves the AUROC, ``(G,)``: the squares add up to the variance, but for the last digits.

        They differ by the factor of patients who are on both sides.
        """
        if self.smaller < 2:
            return np.full_like(self.positive, np.nan)
        moves: FloatArray = math.sqrt(_factor(self.with_positive)) * self.positive
        return moves + math.sqrt(_factor(self.with_negative)) * self.negative


def _factor(patients: int) -> float:
    return patients / (patients - 1)


def clustered_auroc(ranking: Ranking, groups: IntArray) -> Auroc:
    """AUROC by patients; O(n), since the cases are sorted.

    Args:
        ranking: the known cases, best score first.
        groups: ``(n,)`` patient number of each case, known or not, 0..G-1.
    """
    size = int(groups.max()) + 1 if len(groups) else 0
    patient, positive = groups[ranking.order], ranking.positive > 0
    count, total = len(patient), int(positive.sum())
    on_sides = [np.bincount(patient[side], minlength=size) > 0 for side in (positive, ~positive)]
    with_positive, with_negative = (int(side.sum()) for side in on_sides)
    patients = int((on_sides[0] | on_sides[1]).sum())
    if total in (0, count):
        nothing = np.zeros(size)
        return Auroc(math.nan, nothing, nothing, with_positive, with_negative, patients)
    # Of each group of equal scores: cases of either side in it and above it, and the group of each case.
    above = np.cumsum(positive)[ranking.ends]
    positives = np.diff(above, prepend=0)
    cases = np.diff(ranking.ends, prepend=-1)
    false = ranking.ends + 1 - above
    place = np.repeat(np.arange(len(cases)), cases)
    beaten = ((count - total) - false + (cases - positives) / 2) / (count - total)
    lost = (above - positives / 2) / total
    value = float(beaten @ positives) / total
    wins = np.where(positive, beaten[place] - value, 0.0) / total
    losses = np.where(positive, 0.0, lost[place] - value) / (count - total)
    return Auroc(
        value,
        np.bincount(patient, wins, size).astype(np.float64),
        np.bincount(patient, losses, size).astype(np.float64),
        with_positive,
        with_negative,
        patients,
    )


def auroc_interval(auroc: Auroc) -> Ends:
    """95 % interval of an AUROC; Wilson's of the smaller side's patients where all are told apart."""
    return student_interval(auroc.value, auroc.variance, LOGIT, auroc.smaller)
