"""Paired difference of two AUROCs, scans of one patient taken together.

E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics 44:837-845, 1988, where each case is a patient of its
own; N. A. Obuchowski, Biometrics 53:567-578, 1997, where patients have several. Both are linear in what each patient
adds to an area: the variance of a difference is that of the differences of these parts. Student's t of the smaller
side's patients less one takes the place of the normal quantile, as in the interval of one area.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.evaluation.classification.folds import LEAST_OF_A_FOLD
from tasks.evaluation.comparison.paired import Paired, student_test
from tasks.evaluation.intervals.auroc import Auroc
from tasks.evaluation.intervals.share import UNKNOWN


def auroc_difference(reference: Auroc, other: Auroc) -> Auroc:
    """The difference of two areas over the same cases, and what each patient adds to it.

    Args:
        reference: of the first model.
        other: of the second, over the same cases and patients.
    """
    return replace(
        other,
        value=other.value - reference.value,
        positive=other.positive - reference.positive,
        negative=other.negative - reference.negative,
    )


def mean_auroc(areas: Sequence[Auroc]) -> Auroc:
    """Mean area of several models over the same cases.

    Args:
        areas: one or more.
    """
    return replace(
        areas[0],
        value=float(np.mean([area.value for area in areas])),
        positive=np.mean([area.positive for area in areas], axis=0),
        negative=np.mean([area.negative for area in areas], axis=0),
    )


def paired_auroc(reference: Sequence[Auroc], other: Sequence[Auroc], n: int) -> Paired:
    """Difference of the (mean) AUROC of two models.

    Args:
        reference: of the runs of the first model.
        other: of those of the second, over the same cases.
        n: cases.
    """
    found = auroc_difference(mean_auroc(reference), mean_auroc(other))
    ends, p = student_test(found.value, found.variance, found.smaller)
    clustered = found.patients < n
    method = "DeLong by patient" if clustered else "DeLong"
    return Paired(found.value, ends, p, method, n, found.patients, found.smaller)


def paired_fold_auroc(
    reference: Sequence[Sequence[Auroc]], other: Sequence[Sequence[Auroc]], n: int, patients: int
) -> Paired:
    """Difference of the mean AUROC of the folds, see :mod:`tasks.evaluation.classification.folds`.

    Args:
        reference: areas of each fold, of the runs of the first model.
        other: of those of the second, over the same folds.
        n: cases.
        patients: that these are of.
    """
    changes = [
        auroc_difference(mean_auroc(own), mean_auroc(its))
        for own, its in zip(zip(*reference, strict=True), zip(*other, strict=True), strict=True)
    ]
    smaller = [area.smaller for area in changes]
    if not changes or min(smaller) < LEAST_OF_A_FOLD:
        return Paired(math.nan, UNKNOWN, math.nan, "DeLong of folds", n, patients, 0)
    moves = np.mean([area.moves for area in changes], axis=0)
    rests = sum(smaller) - len(changes) + 1
    value = float(np.mean([area.value for area in changes]))
    ends, p = student_test(value, float(moves @ moves), rests)
    return Paired(value, ends, p, "DeLong of folds", n, patients, rests)
