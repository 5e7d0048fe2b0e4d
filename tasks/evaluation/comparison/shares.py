"""Paired difference of two shares of the same cases: sensitivity, specificity, accuracy.

The interval is Tango's score interval for as many cases as would give the same variance if each were a patient of its
own, as :mod:`tasks.evaluation.intervals.share` has it for one share: it has a width where the models never disagree.
p is McNemar's. Where fewer than 25 patients differ it is exact: under the null hypothesis each patient's difference has
either sign with the same chance, which for one case a patient is the exact McNemar test. Else it is the test of
Obuchowski (1998) by patient, which for one case a patient is McNemar's without correction for continuity.

Sources: T. Tango, Statistics in Medicine 17:891-908, 1998; Q. McNemar, Psychometrika 12:153-157, 1947;
N. A. Obuchowski, Statistics in Medicine 17:1495-1507, 1998; the same as a permutation: R. A. Fisher, The Design of
Experiments, 1935, section 21.
"""

from __future__ import annotations

import math

import numpy as np

from tasks.evaluation.comparison.paired import Paired
from tasks.evaluation.intervals.quantiles import NORMAL, student
from tasks.evaluation.intervals.ratios import FloatArray, IntArray, ratios
from tasks.evaluation.intervals.share import UNKNOWN, Ends

EXACT = 25  # patients who differ: from here on the normal approximation is good to the second digit
_MOST_TIMES = 100  # runs of the one model times those of the other


def paired_share(reference: FloatArray, other: FloatArray, whole: FloatArray, groups: IntArray) -> Paired:
    """Difference of two shares over the same cases.

    Args:
        reference: ``(n,)`` what counts of each case by the first model: 0 or 1, true boxes that it finds, or a mean of
            such over several runs.
        other: ``(n,)`` by the second.
        whole: ``(n,)`` of how many: 0 = the case does not enter.
        groups: ``(n,)`` patient number of each case, 0..G-1.
    """
    change = other - reference
    ratio = ratios(change[:, None], whole[:, None], groups)
    units, patients = float(ratio.units[0]), int(ratio.patients[0])
    difference, variance = float(ratio.value[0]), float(ratio.variance[0])
    n = int((whole > 0).sum())
    if patients < 2:
        return Paired(difference, UNKNOWN, math.nan, "McNemar", n, patients, patients)
    gained, lost = float(change[change > 0].sum()) / units, float(-change[change < 0].sum()) / units
    spread = gained + lost - difference**2
    effective = min(spread / variance, units) if variance > 0 and spread > 0 else float(patients)
    ends = score_interval(gained * effective, lost * effective, effective, student(patients - 1))
    p, exact = mcnemar_p(ratio.part[:, 0])
    method = f"McNemar{' by patient' if patients < n else ''}{', exact' if exact else ''}"
    return Paired(difference, ends, p, method, n, patients, patients)


def mcnemar_p(changes: FloatArray) -> tuple[float, bool]:
    """Two-sided p that neither model is right more often, and whether it is exact.

    Args:
        changes: ``(G,)`` of each patient the cases that the second model has right, less those of the first.
    """
    moved = changes[changes != 0]
    if not len(moved):
        return 1.0, True
    if len(moved) < EXACT and (whole := _whole(moved)) is not None:
        return sign_flip_p(whole), True
    statistic = float(moved.sum() ** 2 / (moved**2).sum())
    return math.erfc(math.sqrt(statistic / 2)), False


def _whole(changes: FloatArray) -> IntArray | None:
    """The same as whole numbers, which means over a few runs are times the runs; None where they are others."""
    for times in range(1, _MOST_TIMES + 1):
        found = np.round(changes * times)
        if np.allclose(changes * times, found, rtol=0, atol=1e-6):
            return found.astype(np.intp)
    return None


def sign_flip_p(changes: IntArray) -> float:
    """Share of all ways to give whole numbers their signs in which the sum is at least as far from 0; no draws.

    Args:
        changes: ``(m,)``, none of them 0.
    """
    chances = np.ones(1)  # of each sum, from the smallest on; two apart
    for size in np.abs(changes).tolist():
        wider = np.zeros(len(chances) + size)
        wider[: len(chances)] += chances / 2
        wider[size:] += chances / 2
        chances = wider
    total = int(np.abs(changes).sum())
    sums = np.arange(-total, total + 1, 2)
    return min(1.0, float(chances[np.abs(sums) >= abs(int(changes.sum()))].sum()))


def score_interval(gained: float, lost: float, units: float, quantile: float = NORMAL) -> Ends:
    """Tango's score interval of (gained - lost) / units.

    Args:
        gained: cases that the second model alone has right, whole or not.
        lost: those that the first alone has right.
        units: all cases, above 0.
        quantile: of the distribution, 1.96 for 95 %.
    """
    value = (gained - lost) / units

    def distance(at: float) -> float:
        """Of the value, in standard errors under the constraint that the difference is ``at``."""
        linear = (2 * units - gained + lost) * at - gained - lost
        root = math.sqrt(max(0.0, linear**2 + 8 * units * lost * at * (1 - at)))
        losing = (root - linear) / (4 * units)
        variance = units * (2 * losing + at * (1 - at))
        return abs(units * (value - at)) / math.sqrt(variance) if variance > 0 else math.inf

    def end(far: float) -> float:
        near = value
        for _ in range(60):  # halves the way each time
            middle = (near + far) / 2
            near, far = (middle, far) if distance(middle) < quantile else (near, middle)
        return near

    return (-1.0 if value <= -1 else end(-1.0)), (1.0 if value >= 1 else end(1.0))
