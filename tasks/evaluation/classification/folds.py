"""AUROC of out-of-fold predictions: the mean of the folds' own.

Each fold has a model of its own, and their scores are on scales of their own: pooled, a positive case of one fold is
ranked against negative ones of another, which no model ever did, and the area falls. Source: G. Forman and M. Scholz,
Apples-to-apples in cross-validation studies, ACM SIGKDD Explorations 12:49-57, 2010.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tasks.evaluation.classification.columns import MultiLabel, SingleLabel
from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.classification.weighted_scores import rank
from tasks.evaluation.intervals.auroc import Auroc, clustered_auroc
from tasks.evaluation.intervals.ratios import IntArray
from tasks.evaluation.intervals.scales import LOGIT, student_interval
from tasks.evaluation.intervals.share import UNKNOWN
from tasks.evaluation.metric_values import NO_SPREAD, TOO_FEW_REST, MetricValue, with_interval

NAME = "fold_auroc"
LEAST_OF_A_FOLD = 2  # patients on either side: a variance takes two


class Finding(NamedTuple):
    """A class against the rest, or a label, of n cases.

    Attributes:
        score: ``(n,)``.
        truth: ``(n,)``.
        known: ``(n,)``.
        rest: ``(n,)`` sum of the scores of the other classes; None of labels. See
            :func:`tasks.evaluation.classification.weighted_scores.rank`.
    """

    score: FloatArray
    truth: BoolArray
    known: BoolArray
    rest: FloatArray | None


def class_findings(cases: SingleLabel) -> list[Finding]:
    """Each class against the rest."""
    known = np.ones(len(cases.target), dtype=bool)
    return [
        Finding(score, cases.target == k, known, np.delete(cases.score, k, axis=1).sum(axis=1))
        for k, score in enumerate(cases.score.T)
    ]


def label_findings(cases: MultiLabel) -> list[Finding]:
    """Each label over the cases where it is known."""
    return [Finding(*columns, None) for columns in zip(cases.score.T, cases.target.T, cases.known.T, strict=True)]


def fold_aurocs(
    findings: Sequence[Finding],
    folds: IntArray,
    groups: IntArray,
    class_names: Sequence[str],
    positive: int | None,
    intervals: bool = True,
) -> dict[str, MetricValue]:
    """Mean over the folds of each finding's AUROC, and under the bare name the positive class's or the mean of all.

    The folds' areas are as many means of different patients: their variances add up. A fold without cases on both sides
    has no area, and is not in the mean.

    Args:
        findings: in class order.
        folds: ``(n,)`` fold of each case.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        class_names: in class order.
        positive: number of the positive class in binary classification; None = bare is the mean over the findings.
        intervals: give them.
    """
    areas = [fold_areas(finding, folds, groups) for finding in findings]
    with_area = [k for k, own in enumerate(areas) if own]
    wanted = {"": [positive] if positive is not None else with_area}
    wanted |= {f"/{name}": [k] for k, name in enumerate(class_names)}
    found = {}
    for name, numbers in wanted.items():
        cases = np.any([findings[k].known for k in numbers], axis=0) if numbers else np.zeros(len(groups), dtype=bool)
        metric = _mean([areas[k] for k in numbers], cases, groups, intervals)
        if positive is None and not name:
            found[NAME] = replace(metric, classes=len(with_area))
        else:
            one = findings[numbers[0]]
            found[f"{NAME}{name}"] = replace(metric, positives=int((one.truth & one.known).sum()))
    return found


def fold_areas(finding: Finding, folds: IntArray, groups: IntArray) -> list[Auroc]:
    """AUROC of each fold that has cases on both sides.

    Args:
        finding: a class against the rest, or a label.
        folds: ``(n,)`` fold of each case.
        groups: ``(n,)`` patient number of each case, 0..G-1.
    """
    score, truth, known, rest = finding
    return [
        clustered_auroc(rank(score, truth, known & (folds == fold), rest), groups)
        for fold in np.unique(folds)
        if 0 < (truth & known & (folds == fold)).sum() < (known & (folds == fold)).sum()
    ]


def _mean(findings: Sequence[Sequence[Auroc]], cases: BoolArray, groups: IntArray, intervals: bool) -> MetricValue:
    """Mean over findings of the mean over folds."""
    count, patients = int(cases.sum()), len(np.unique(groups[cases]))
    if not findings or not all(findings):
        return with_interval((math.nan, *UNKNOWN), count, patients)
    value = float(np.mean([np.mean([area.value for area in own]) for own in findings]))
    if not intervals:
        return with_interval((value, *UNKNOWN), count, patients)
    moves = np.mean([np.mean([area.moves for area in own], axis=0) for own in findings], axis=0)
    # Of the rarest finding: patients on the smaller side, less one for each fold's own area.
    rests = min(sum(area.smaller for area in own) for own in findings)
    folds = max(len(own) for own in findings)
    few = min(area.smaller for own in findings for area in own) < LEAST_OF_A_FOLD
    ends = student_interval(value, math.nan if few else float(moves @ moves), LOGIT, max(2, rests - folds + 1))
    return with_interval((value, *ends), count, patients, rests=rests, missing=TOO_FEW_REST if few else NO_SPREAD)
