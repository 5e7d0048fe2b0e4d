"""Conformal prediction: sets and intervals that hold the truth of a new patient's case as often as stated.

A threshold is fitted on cases that the model was not trained on (validation) and holds on others for as long as they
are alike. Scans of a patient are no two witnesses: each patient has the weight of one, spread over the own cases, and a
new patient the weight of one at infinity, so that the stated coverage holds for a case drawn from a new patient
whatever the correlation within patients and the number of their cases. Where each patient has one case this is split
conformal prediction. Sources: Y. Lee, R. F. Barber and R. Willett, Distribution-free inference with hierarchical data,
arXiv:2306.06342, 2023; R. Dunn, L. Wasserman and A. Ramdas, JASA 118:2491-2502, 2023.

Nonconformity of a class: LAC, 1 less its score (M. Sadinle, J. Lei and L. Wasserman, JASA 114:223-234, 2019); APS, the
sum of the scores down to it from the highest (Y. Romano, M. Sesia and E. Candes, NeurIPS 2020; without randomisation,
so that equal cases have equal sets, and with the highest-scoring class always, which only adds coverage). With a
threshold for each class the coverage holds in each (V. Vovk, Machine Learning 92:349-376, 2013).

Ours, because MAPIE and crepes know no patients; MAPIE is the reference in the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.classification.weighted import BoolArray, FloatArray

IntArray = NDArray[np.intp]
Score = Literal["lac", "aps"]


def threshold(scores: FloatArray, groups: IntArray, coverage: float, *, whole_patients: bool = False) -> float:
    """The nonconformity up to which a value is in the set; inf where there are too few patients to promise anything.

    Args:
        scores: ``(n,)`` nonconformity of the truth of each case.
        groups: ``(n,)`` patient number of each case.
        coverage: stated, above 0 and below 1.
        whole_patients: all cases of a new patient together are to be covered, not one of them: each patient counts by
            the worst own case.
    """
    patient, number = np.unique(groups, return_inverse=True)
    if not len(patient):
        return math.inf
    if whole_patients:
        worst = np.full(len(patient), -np.inf)
        np.maximum.at(worst, number, scores)
        scores, number = worst, np.arange(len(patient))
    weight = (1 / np.bincount(number))[number]
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weight[order]) >= coverage * (len(patient) + 1) - 1e-9  # 0.9 of 20 is 18
    return float(scores[order[np.argmax(reached)]]) if reached.any() else math.inf


def nonconformity(score: FloatArray, kind: Score) -> FloatArray:
    """Of each case and class, ``(n, K)``.

    Args:
        score: ``(n, K)`` probabilities.
        kind: ``lac`` or ``aps``.
    """
    if kind == "lac":
        return 1 - score
    order = np.argsort(-score, axis=1, kind="stable")
    summed: FloatArray = np.empty_like(score)
    np.put_along_axis(summed, order, np.cumsum(np.take_along_axis(score, order, axis=1), axis=1), axis=1)
    return summed


@dataclass(frozen=True, eq=False)
class ClassSets:
    """Fitted prediction sets of classes.

    Attributes:
        kind: of nonconformity.
        thresholds: ``(K,)``; all the same unless they were fitted for each class.
    """

    kind: Score
    thresholds: FloatArray

    def predict(self, score: FloatArray) -> BoolArray:
        """Which classes are in the set of each case, ``(n, K)``.

        Args:
            score: ``(n, K)`` probabilities.
        """
        inside: BoolArray = nonconformity(score, self.kind) <= self.thresholds
        if self.kind == "aps":
            inside[np.arange(len(score)), score.argmax(axis=1)] = True
        return inside


def fit_sets(
    score: FloatArray,
    target: IntArray,
    groups: IntArray,
    coverage: float,
    kind: Score = "lac",
    *,
    by_class: bool = False,
    whole_patients: bool = False,
) -> ClassSets:
    """Fit prediction sets on cases that the model was not trained on.

    Args:
        score: ``(n, K)`` probabilities.
        target: ``(n,)`` true class numbers.
        groups: ``(n,)`` patient number of each case.
        coverage: stated, above 0 and below 1.
        kind: of nonconformity.
        by_class: the coverage is to hold in each class; a class with few patients is then in every set.
        whole_patients: see :func:`threshold`.
    """
    own = nonconformity(score, kind)[np.arange(len(target)), target]
    if not by_class:
        level = threshold(own, groups, coverage, whole_patients=whole_patients)
        return ClassSets(kind, np.full(score.shape[1], level))
    levels = [
        threshold(own[target == k], groups[target == k], coverage, whole_patients=whole_patients)
        for k in range(score.shape[1])
    ]
    return ClassSets(kind, np.array(levels))


def fit_half_width(error: FloatArray, groups: IntArray, coverage: float, *, whole_patients: bool = False) -> float:
    """Half the width of an interval around predicted numbers, in units of the target; inf of too few patients.

    Source: J. Lei and others, Distribution-free predictive inference for regression, JASA 113:1094-1111, 2018.

    Args:
        error: ``(n,)`` predicted less true.
        groups: ``(n,)`` patient number of each case.
        coverage: stated, above 0 and below 1.
        whole_patients: see :func:`threshold`.
    """
    return threshold(np.abs(error), groups, coverage, whole_patients=whole_patients)
