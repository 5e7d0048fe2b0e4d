"""Scores beside the truth, finding by finding, for every kind of target: what calibrations are fitted on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.calibration.applying import RAW, RAW_BOX
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.maps import FloatArray
from tasks.evaluation.classification.columns import read_multilabel, read_single_label
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.ratios import numbered

IntArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]
# One of two classes; one of several; labels, each for itself; boxes, each class for itself.
Kind: TypeAlias = Literal["binary", "classes", "labels", "boxes"]


@dataclass(frozen=True, eq=False)
class Finding:
    """One score a case, and whether the case has what the score is about.

    Attributes:
        name: of the class or label.
        score: ``(m,)`` in [0, 1].
        rest: ``(m,)`` what it lacks to 1, with more digits than a score next to 1 has.
        there: ``(m,)`` the case has the finding; of a box: it is right.
        groups: ``(m,)`` patient number of each case, 0..G-1.
    """

    name: str
    score: FloatArray
    rest: FloatArray
    there: BoolArray
    groups: IntArray

    @cached_property
    def patients(self) -> int:
        """How many patients there are."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    @cached_property
    def smaller(self) -> int:
        """Patients with the finding or without it, whichever are fewer."""
        return min(int((np.bincount(self.groups[side]) > 0).sum()) for side in (self.there, ~self.there))


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of a part, and the truth.

    Attributes:
        kind: how scores belong together.
        names: of the classes, in class order.
        findings: of each class; of two classes the positive one alone.
        scores: ``(n, K)`` of ``binary`` and ``classes``; otherwise None.
        target: ``(n,)`` true class number, likewise.
        groups: ``(n,)`` patient number of each case, likewise; of boxes that of those of all classes, class by class.
    """

    kind: Kind
    names: tuple[str, ...]
    findings: tuple[Finding, ...]
    scores: FloatArray | None = None
    target: IntArray | None = None
    groups: IntArray | None = None

    @cached_property
    def whole(self) -> Finding | None:
        """What stands for all of it: the positive class, the highest-scoring class of each case, or all boxes.

        None for labels, of which each is for itself.
        """
        if self.kind == "labels" or not self.findings:
            return None
        if len(self.findings) == 1:
            return self.findings[0]
        assert self.groups is not None
        if self.kind == "boxes":
            score, there = (np.concatenate([getattr(one, of) for one in self.findings]) for of in ("score", "there"))
            return finding("", score, there, self.groups)
        assert self.scores is not None
        assert self.target is not None
        top = self.scores.argmax(axis=1)
        rows = np.arange(len(top))
        score = self.scores[rows, top]
        return Finding("", score, self.scores.sum(axis=1) - score, top == self.target, self.groups)

    def calibrated(self, calibration: Calibration) -> Scored:
        """The same with calibrated scores."""
        if self.scores is not None:
            assert self.target is not None
            assert self.groups is not None
            scores = calibration.apply(self.scores)
            positive = self.names.index(self.findings[0].name) if self.kind == "binary" else None
            return of_classes(scores, self.target, self.groups, self.names, positive)
        return replace(self, findings=tuple(_calibrated(one, calibration) for one in self.findings))


def _calibrated(finding: Finding, calibration: Calibration) -> Finding:
    score = calibration.apply_to(finding.name, finding.score)
    return replace(finding, score=score, rest=1 - score)


def finding(
    name: str, score: FloatArray, there: BoolArray, groups: IntArray, rest: FloatArray | None = None
) -> Finding:
    """A finding of some of the cases, whose patients may have any numbers."""
    return Finding(name, score, 1 - score if rest is None else rest, there, numbered(groups))


def of_classes(
    scores: FloatArray, target: IntArray, groups: IntArray, names: tuple[str, ...], positive: int | None = None
) -> Scored:
    """Scores of cases with one class each.

    Args:
        scores: ``(n, K)`` that sum to 1.
        target: ``(n,)`` class number.
        groups: ``(n,)`` patient of each case, any numbers.
        names: in class order.
        positive: of two classes the number of that which is looked for; None = each is.
    """
    groups = numbered(groups)
    looked_for = range(len(names)) if positive is None else [positive]
    found = tuple(
        Finding(names[k], scores[:, k], np.delete(scores, k, axis=1).sum(axis=1), target == k, groups)
        for k in looked_for
    )
    return Scored("classes" if positive is None else "binary", names, found, scores, target, groups)


def scored(tables: PartTables) -> Scored | None:
    """Scores and truth of a part; None where there are no scores by case: regression and segmentation.

    Raises:
        SuiteError: a column is missing, or a cell is not what it should be.
    """
    names = tuple(tables.task.class_names)
    if tables.task.task == "detect":
        found, owners = [], [np.zeros(0, dtype=np.intp)]
        for name, matches in zip(names, tables.matches, strict=True):
            kept = ~matches.ignored[0, 0]
            owners.append(tables.patients[matches.image[kept]])
            found.append(finding(name, matches.score[kept], matches.hit[0, 0][kept], owners[-1]))
        return Scored("boxes", names, tuple(found), groups=np.concatenate(owners))
    if tables.task.task != "classify" or tables.kind == "regression":
        return None
    if tables.kind == "multilabel":
        labels = read_multilabel(tables.predictions, names)
        groups = tables.patients[labels.rows]
        of_labels = []
        for column, name in enumerate(names):
            known = labels.known[:, column]
            score, there = _clip(labels.score[known, column]), labels.target[known, column]
            of_labels.append(finding(name, score, there, groups[known]))
        return Scored("labels", names, tuple(of_labels))
    cases = read_single_label(tables.predictions, names)
    positive = None if tables.positive_class is None else names.index(tables.positive_class)
    return of_classes(_clip(cases.score), cases.target, tables.patients[cases.rows], names, positive)


def _clip(scores: FloatArray) -> FloatArray:
    """Scores within [0, 1], of which float32 sums may end a little above."""
    return np.clip(scores, 0.0, 1.0)


def uncalibrated(tables: PartTables) -> PartTables | None:
    """The tables with the scores as the model gave them; None where they were not calibrated."""
    names = tables.task.class_names
    columns = {RAW_BOX: "score"} if tables.task.task == "detect" else {f"{RAW}{c}": f"score_{c}" for c in names}
    raw = {score: column for column, score in columns.items() if column in tables.predictions}
    if not raw:
        return None
    restored = {score: tables.predictions[column] for score, column in raw.items()}
    return replace(tables, predictions=tables.predictions.assign(**restored))
