"""Paired difference of means over cases: Dice, surface distances, absolute error.

Each case has a difference of its own; its mean over the cases, patient by patient, is tested by Student's t, which for
one case a patient is the paired t-test, and has the studentised bootstrap's interval. Beside it stands Wilcoxon's
signed-rank test over the patients' mean differences, which one failed case cannot carry. Sources: A. C. Davison and
D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 5.2; F. Wilcoxon, Biometrics Bulletin 1:80-83,
1945.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tasks.evaluation.classification.weighted import divide, mean_of_classes
from tasks.evaluation.comparison.paired import Paired, student_test
from tasks.evaluation.intervals.ratios import FloatArray, IntArray, ratios
from tasks.evaluation.intervals.scales import PLAIN
from tasks.evaluation.intervals.studentised import mean_variance, studentised_intervals


def paired_means(
    reference: FloatArray,
    other: FloatArray,
    groups: IntArray,
    means: Mapping[str, Sequence[int]],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Paired]:
    """Differences of means over cases.

    Args:
        reference: ``(n, L)`` the metrics of each case by the first model; NaN = undefined, and a cell that is so by
            either model does not enter.
        other: ``(n, L)`` by the second.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        means: by name the columns of it: one, or those of the classes in the mean.
        resamples: of the studentised bootstrap.
        seed: of its draws.
    """
    # What is the same but for the last digits, by another order of sums, is the same.
    change = np.where(np.isclose(other, reference, rtol=1e-7, atol=1e-9), 0.0, other - reference)
    defined = ~np.isnan(change)
    ratio = ratios(np.where(defined, change, 0.0), defined, groups)
    intervals = studentised_intervals(ratio, {name: (own, PLAIN) for name, own in means.items()}, resamples, seed)
    of_patients = divide(ratio.part, ratio.whole)  # (G, L)
    found = {}
    for name, own in means.items():
        columns = list(own)
        value, variance = mean_variance(ratio, columns)
        fewest = ratio.fewest(columns)
        ends, p = student_test(value, variance, fewest)
        if math.isfinite(ends[0]):
            ends = intervals[name]
        entered = defined[:, columns].any(axis=1)
        found[name] = Paired(
            value,
            ends,
            p,
            "paired t by patient" if len(np.unique(groups[entered])) < entered.sum() else "paired t",
            int(entered.sum()),
            len(np.unique(groups[entered])),
            fewest,
            wilcoxon_p(mean_of_classes(of_patients[:, columns])),
        )
    return found


def wilcoxon_p(changes: FloatArray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 where no patient has a difference, NaN where there is none.

    Args:
        changes: ``(G,)`` of each patient; NaN = undefined.
    """
    known = changes[~np.isnan(changes)]
    if not len(known):
        return math.nan
    if not known.any():
        return 1.0
    from scipy.stats import wilcoxon  # here: it is slow to import

    return float(wilcoxon(known).pvalue)
