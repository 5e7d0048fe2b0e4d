"""What each metric of classification rests on, and the intervals that have a closed form: shares and AUROC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.classification.weighted import BoolArray
from tasks.evaluation.classification.weighted_scores import Ranking
from tasks.evaluation.intervals.auroc import auroc_interval, clustered_auroc
from tasks.evaluation.intervals.evidence import Evidence
from tasks.evaluation.intervals.ratios import patient_sums, ratios
from tasks.evaluation.intervals.share import Ends, share_intervals

IntArray = NDArray[np.intp]
# Of one finding: what rests on the patients with it and on those without alike.
_BOTH_SIDES = ("auprc", "f1", "mcc", "kappa", "balanced_accuracy")


def call_evidence(
    truth: BoolArray, called: BoolArray, known: BoolArray, groups: IntArray, names: Sequence[str], suffix: str = ""
) -> dict[str, Evidence]:
    """What is behind the metrics of calls, as ``<metric><suffix>/<name>``.

    Args:
        truth: ``(n, L)`` the case has the finding.
        called: ``(n, L)`` the model calls it.
        known: ``(n, L)`` both are known; other cells count nowhere.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        names: of the L findings.
        suffix: of the metrics: ``@op``.
    """
    there, absent = truth & known, ~truth & known
    shares = {
        "sensitivity": (there & called, there),
        "specificity": (absent & ~called, absent),
        "precision": (there & called, called & known),
        "npv": (absent & ~called, ~called & known),
        "accuracy": ((truth == called) & known, known),
    }
    found = {}
    positives, seen = there.sum(axis=0), _patients(known, groups)
    for metric, (part, whole) in shares.items():
        ratio = ratios(part, whole, groups)
        for k, (name, ends) in enumerate(zip(names, share_intervals(ratio), strict=True)):
            found[f"{metric}{suffix}/{name}"] = Evidence(ends, int(ratio.patients[k]), int(positives[k]), int(seen[k]))
    smaller = np.minimum(_patients(there, groups), _patients(absent, groups))
    for metric in _BOTH_SIDES:
        for k, name in enumerate(names):
            found[f"{metric}{suffix}/{name}"] = Evidence(None, int(smaller[k]), int(positives[k]), int(seen[k]))
    return found


def score_evidence(
    truth: BoolArray, known: BoolArray, rankings: Sequence[Ranking], groups: IntArray, names: Sequence[str]
) -> dict[str, Evidence]:
    """What is behind AUROC and the metrics of probabilities, as ``<metric>/<name>``.

    Args:
        truth: ``(n, L)``.
        known: ``(n, L)``.
        rankings: of each finding.
        groups: ``(n,)``.
        names: of the L findings.
    """
    found = {}
    positives, patients = (truth & known).sum(axis=0), _patients(known, groups)
    for k, name in enumerate(names):
        area = clustered_auroc(rankings[k], groups)
        found[f"auroc/{name}"] = Evidence(auroc_interval(area), area.smaller, int(positives[k]), int(patients[k]))
        for metric in ("brier", "ece", "squared_ece"):
            found[f"{metric}/{name}"] = Evidence(None, int(patients[k]), int(positives[k]), int(patients[k]))
    return found


def accuracy_ends(right: BoolArray, groups: IntArray) -> Ends:
    """Interval of the share of cases, ``(n,)``, whose one class is right."""
    (ends,) = share_intervals(ratios(right[:, None], np.ones((len(right), 1)), groups))
    return ends


def _patients(cells: BoolArray, groups: IntArray) -> IntArray:
    """How many patients have a case in each column of cells, ``(n, L)`` -> ``(L,)``."""
    count: IntArray = (patient_sums(cells, groups) > 0).sum(axis=0)
    return count
