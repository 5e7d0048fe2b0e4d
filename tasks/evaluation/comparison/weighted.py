"""Paired difference of figures that no closed form serves: AUPRC, F1, Brier score, mAP, FROC, means over classes.

Both models are evaluated on the same cases with the same weights, and the difference is what the jackknife by patient
sees: what makes a patient hard for both goes out. See :mod:`tasks.evaluation.intervals.jackknife`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.evaluation.bootstrap import Statistics
from tasks.evaluation.comparison.paired import Paired, student_test
from tasks.evaluation.intervals.evidence import Evidence
from tasks.evaluation.intervals.jackknife import BLOCKS, jackknife
from tasks.evaluation.intervals.ratios import FloatArray, IntArray
from tasks.evaluation.intervals.share import UNKNOWN
from tasks.evaluation.metric_values import BIASED

_ROUNDING = 1e-8  # of scores: figures from 0 to 1 that differ by less do not differ
_UNDEFINED = "undefined without one of the patients"


def paired_weighted(
    reference: Sequence[Statistics],
    other: Sequence[Statistics],
    groups: IntArray,
    evidence: Mapping[str, Evidence],
    differences: Mapping[str, float],
    resamples: int = BLOCKS,
    seed: int = 0,
) -> dict[str, Paired]:
    """Differences of statistics that take weights.

    Args:
        reference: of the runs of the first model.
        other: of those of the second, over the same cases.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        evidence: behind each metric; what is absent rests on all patients.
        differences: by metric; those that are wanted.
        resamples: most times that a patient is left out.
        seed: of the order in which more patients than that are left out.
    """
    if not len(groups):
        return {}

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        first, second = mean_statistics(reference, weights), mean_statistics(other, weights)
        return {name: second[name] - first[name] for name in differences}

    variances = jackknife(statistics, groups, max(2, min(resamples, BLOCKS)), seed)
    behind = len(np.unique(groups))
    found = {}
    for name, raw in differences.items():
        difference = raw
        known = evidence.get(name, Evidence(None, behind))
        rests = behind if known.mean else known.rests
        missing = "" if np.isfinite(variances[name]) else _UNDEFINED
        variance = variances[name]
        if name != "rmse" and max(abs(difference), variance**0.5) < _ROUNDING:
            difference, variance = 0.0, 0.0
        ends, p = student_test(difference, variance, rests)
        if name.partition("/")[0] == "ece":
            ends, p, missing = UNKNOWN, np.nan, BIASED
        patients = behind if known.patients is None else known.patients
        found[name] = Paired(
            difference, ends, p, "jackknife by patient", len(groups), patients, known.rests,
            missing=missing,
        )  # fmt: skip
    return found


def mean_statistics(runs: Sequence[Statistics], weights: FloatArray) -> dict[str, FloatArray]:
    """Mean of the runs' statistics, by name; those that all have."""
    each = [statistics(weights) for statistics in runs]
    names = [name for name in each[0] if all(name in own for own in each)]
    return {name: np.mean([own[name] for own in each], axis=0) for name in names}
