"""What each metric of classification rests on, and the intervals that have a closed form: shares and AUROC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.classification.columns import MultiLabel, SingleLabel
from tasks.evaluation.classification.folds import class_findings, label_findings
from tasks.evaluation.classification.weighted import BoolArray
from tasks.evaluation.classification.weighted_scores import Ranking, rank
from tasks.evaluation.intervals.auroc import auroc_interval, clustered_auroc
from tasks.evaluation.intervals.evidence import Evidence, mean_evidence
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


def class_evidence(
    cases: SingleLabel,
    class_names: Sequence[str],
    positive: int | None,
    groups: IntArray,
    values: Mapping[str, float],
) -> dict[str, Evidence]:
    """What is behind the metrics of one class a case.

    Args:
        cases: what is known and said of them.
        class_names: in class order.
        positive: number of the positive class in binary classification; None = another kind of target.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        values: of the metrics.
    """
    truth = cases.target[:, None] == np.arange(len(class_names))
    known, called = np.ones_like(truth), cases.prediction[:, None] == np.arange(len(class_names))
    own = call_evidence(truth, called, known, groups, class_names)
    own |= score_evidence(truth, known, [rank(*finding) for finding in class_findings(cases)], groups, class_names)
    if positive is None:
        means = mean_evidence(own, values)
        means["balanced_accuracy"] = means["sensitivity"]
        overall = Evidence(accuracy_ends(cases.prediction == cases.target, groups), len(np.unique(groups)))
        # Of the whole confusion matrix, and of the top class.
        whole = dict.fromkeys(("mcc", "kappa", "brier", "ece", "squared_ece"), overall.without_ends())
        return {**own, **means, **whole, "accuracy": overall}
    name = class_names[positive]
    found = own | {metric: own[f"{metric}/{name}"] for metric in values if f"{metric}/{name}" in own}
    if cases.at_operating_point is not None:
        there = (cases.at_operating_point == positive)[:, None]
        present = (cases.at_operating_point >= 0)[:, None]
        chosen = call_evidence(truth[:, [positive]], there, present, groups, [name], "@op")
        found |= {metric.partition("/")[0]: evidence for metric, evidence in chosen.items()}
    return found


def label_evidence(
    cases: MultiLabel, class_names: Sequence[str], groups: IntArray, values: Mapping[str, float]
) -> dict[str, Evidence]:
    """What is behind the metrics of several labels a case; arguments as in :func:`class_evidence`."""
    rankings = [rank(*finding) for finding in label_findings(cases)]
    own = call_evidence(cases.target, cases.prediction, cases.known, groups, class_names)
    own |= score_evidence(cases.target, cases.known, rankings, groups, class_names)
    if cases.at_operating_point is not None:
        own |= call_evidence(
            cases.target, cases.at_operating_point, cases.known_at_operating_point, groups, class_names, "@op"
        )
    return own | mean_evidence(own, values)


def accuracy_ends(right: BoolArray, groups: IntArray) -> Ends:
    """Interval of the share of cases, ``(n,)``, whose one class is right."""
    (ends,) = share_intervals(ratios(right[:, None], np.ones((len(right), 1)), groups))
    return ends


def _patients(cells: BoolArray, groups: IntArray) -> IntArray:
    """How many patients have a case in each column of cells, ``(n, L)`` -> ``(L,)``."""
    count: IntArray = (patient_sums(cells, groups) > 0).sum(axis=0)
    return count
