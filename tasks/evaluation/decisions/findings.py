"""Findings that a model scores case by case: a binary target's positive class, labels, classes against the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from tasks.evaluation.classification.columns import read_multilabel, read_single_label
from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.classification.weighted_scores import Ranking, rank
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.ratios import IntArray, numbered


@dataclass(frozen=True, eq=False)
class Finding:
    """The cases of which it is known whether they have a finding.

    Attributes:
        name: of the class or label.
        score: ``(n,)`` probability of the finding.
        truth: ``(n,)`` the case has it.
        groups: ``(n,)`` patient number of each case, 0..G-1 without gaps.
        threshold: operating point; None = there is none.
        rest: ``(n,)`` sum of the scores of the other classes, see
            :func:`~tasks.evaluation.classification.weighted_scores.rank`; None of labels.
    """

    name: str
    score: FloatArray
    truth: BoolArray
    groups: IntArray
    threshold: float | None = None
    rest: FloatArray | None = None

    @cached_property
    def ranking(self) -> Ranking:
        """The cases, best score first."""
        return rank(self.score, self.truth, np.ones(len(self.score), dtype=bool), self.rest)

    @property
    def prevalence(self) -> float:
        """Share of the cases that have it; NaN without cases."""
        return float(self.truth.mean()) if len(self.truth) else np.nan


# Several sections ask for the findings of the same tables, and reading them takes as long as a section.
_READ: WeakKeyDictionary[PartTables, list[Finding]] = WeakKeyDictionary()


def findings_of(tables: PartTables) -> list[Finding]:
    """The findings of a classification: one of a binary target, of others one a class or label; none of regression.

    Raises:
        SuiteError: a column is missing or a cell is not what it should be.
    """
    if tables not in _READ:
        _READ[tables] = _read(tables)
    return _READ[tables]


def _read(tables: PartTables) -> list[Finding]:
    task = tables.task
    names, points = task.class_names, task.operating_points
    if task.task != "classify" or tables.kind == "regression":
        return []
    if tables.kind == "multilabel":
        labels = read_multilabel(tables.predictions, names)
        patients = tables.patients[labels.rows]
        return [
            Finding(name, labels.score[known, k], labels.target[known, k], numbered(patients[known]), points.get(name))
            for k, (name, known) in enumerate(zip(names, labels.known.T, strict=True))
        ]
    cases = read_single_label(tables.predictions, names)
    groups = numbered(tables.patients[cases.rows])
    chosen = [names.index(str(tables.positive_class))] if tables.kind == "binary" else range(len(names))
    return [
        Finding(
            names[k],
            cases.score[:, k],
            cases.target == k,
            groups,
            points.get(names[k]),
            np.delete(cases.score, k, axis=1).sum(axis=1),
        )
        for k in chosen
    ]
