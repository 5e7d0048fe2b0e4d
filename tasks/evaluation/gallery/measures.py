"""Measures of each case that say how telling it is: how well it went, how sure the model was, what kind of error."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.evaluation.classification.columns import read_multilabel, read_regression, read_single_label
from tasks.evaluation.detection.calls import call_boxes
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.uncertainty.cases import case_uncertainty

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
_LEAST = 1e-12  # probability, in logarithms


@dataclass(frozen=True, eq=False)
class CaseMeasures:
    """Measures of the n cases of a part, in the order of its table.

    Attributes:
        name: of the value, as it is shown: ``score of the true class``, ``Dice``.
        value: ``(n,)``; NaN = undefined.
        higher_is_better: of the value.
        uncertainty: ``(n,)`` how unsure the model was, larger = more; NaN = unknown.
        uncertainty_name: what is taken for it; empty = the tables say nothing of it.
        false_positive: ``(n,)`` something is called that is not there.
        false_negative: ``(n,)`` something is there that is not called.
        wrong_class: ``(n,)`` one class is called for another, of several.
        group: ``(n,)`` number of the true class, where a case has one; otherwise 0, and -1 where it is unknown.
    """

    name: str
    value: FloatArray
    higher_is_better: bool
    uncertainty: FloatArray
    uncertainty_name: str
    false_positive: BoolArray
    false_negative: BoolArray
    wrong_class: BoolArray
    group: NDArray[np.intp]

    @property
    def goodness(self) -> FloatArray:
        """``(n,)`` the higher the better; NaN = undefined."""
        return self.value if self.higher_is_better else -self.value


def case_measures(tables: PartTables) -> CaseMeasures:
    """The measures of each case of a part.

    Classification: the probability of the true class, of several labels the mean cross-entropy of those that are
    known, of a number the absolute error. Segmentation: the mean Dice over the classes that have one. Detection: F1 of
    the calls, undefined where there is neither a true box nor a call. Of how unsure the model was the first measure is
    taken that :func:`~tasks.evaluation.uncertainty.cases.case_uncertainty` has, as for the cases for a second reader.

    Raises:
        SuiteError: a column is missing, a cell is not what it should be, or the task is none of the suite's.
    """
    if tables.task.task == "segment":
        own = _segmentation(tables)
    elif tables.task.task == "detect":
        own = _detection(tables)
    elif tables.task.task != "classify":
        raise SuiteError(f"task {tables.task.task!r}: its cases are not judged from tables alone")
    elif tables.kind == "regression":
        own = _regression(tables)
    else:
        own = _multilabel(tables) if tables.kind == "multilabel" else _single_label(tables)
    found = case_uncertainty(tables)
    if not found.measures:
        return own
    name, values = next(iter(found.measures.items()))
    unsure = np.full(len(tables.cases), np.nan)
    unsure[found.rows] = values
    return replace(own, uncertainty=unsure, uncertainty_name=name)


def _single_label(tables: PartTables) -> CaseMeasures:
    cases = len(tables.cases)
    names = tables.task.class_names
    read = read_single_label(tables.predictions, names)
    score, group = np.full(cases, np.nan), np.full(cases, -1, dtype=np.intp)
    score[read.rows] = read.score[np.arange(len(read.rows)), read.target]
    group[read.rows] = read.target
    false_positive, false_negative, wrong = np.zeros((3, cases), dtype=bool)
    positive = tables.positive_class
    if positive is None:
        wrong[read.rows] = read.prediction != read.target
    else:
        number = names.index(positive)
        call = (read.prediction if read.at_operating_point is None else read.at_operating_point) == number
        true = read.target == number
        false_positive[read.rows], false_negative[read.rows] = call & ~true, true & ~call
    return CaseMeasures(
        "score of the true class", score, True, *_unknown(cases), false_positive, false_negative, wrong, group
    )


def _multilabel(tables: PartTables) -> CaseMeasures:
    cases = len(tables.cases)
    read = read_multilabel(tables.predictions, tables.task.class_names)
    known = read.known
    of_truth = np.where(read.target, read.score, 1 - read.score)
    logs = np.where(known, -np.log(np.clip(np.nan_to_num(of_truth, nan=1.0), _LEAST, 1)), 0)
    loss = np.full(cases, np.nan)
    loss[read.rows] = logs.sum(axis=1) / known.sum(axis=1)
    call = read.prediction
    if read.at_operating_point is not None:
        call = np.where(read.known_at_operating_point, read.at_operating_point, call)
    false_positive, false_negative = np.zeros((2, cases), dtype=bool)
    false_positive[read.rows] = (call & ~read.target & known).any(axis=1)
    false_negative[read.rows] = (~call & read.target & known).any(axis=1)
    # The first label that a case has; those without any are a group too.
    first = np.where(read.target.any(axis=1), read.target.argmax(axis=1), read.target.shape[1])
    group = np.full(cases, -1, dtype=np.intp)
    group[read.rows] = first
    return CaseMeasures(
        "mean cross-entropy",
        loss,
        False,
        *_unknown(cases),
        false_positive,
        false_negative,
        np.zeros(cases, dtype=bool),
        group,
    )


def _regression(tables: PartTables) -> CaseMeasures:
    cases = len(tables.cases)
    rows, target, prediction = read_regression(tables.predictions)
    error, group = np.full(cases, np.nan), np.full(cases, -1, dtype=np.intp)
    error[rows], group[rows] = np.abs(prediction - target), 0
    none = np.zeros(cases, dtype=bool)
    return CaseMeasures("absolute error", error, False, *_unknown(cases), none, none, none, group)


def _segmentation(tables: PartTables) -> CaseMeasures:
    table = tables.predictions
    for column in ("case_id", "dice"):
        if column not in table:
            raise SuiteError(f"predictions table: no column {column!r} (found: {', '.join(map(str, table.columns))})")
    ids = tables.cases["case_id"]
    dice = pd.to_numeric(table["dice"], errors="coerce").groupby(table["case_id"]).mean()
    value = dice.reindex(ids).to_numpy(dtype=np.float64)
    false_positive, false_negative = np.zeros((2, len(ids)), dtype=bool)
    if {"tp", "fp", "fn"} <= set(table.columns):
        tp, fp, fn = (pd.to_numeric(table[name], errors="coerce").fillna(0) for name in ("tp", "fp", "fn"))
        for kind, rows in ((false_positive, (tp + fn == 0) & (fp > 0)), (false_negative, (tp == 0) & (fn > 0))):
            kind[:] = rows.groupby(table["case_id"]).any().reindex(ids, fill_value=False).to_numpy(dtype=bool)
    none = np.zeros(len(ids), dtype=bool)
    return CaseMeasures(
        "Dice",
        value,
        True,
        *_unknown(len(ids)),
        false_positive,
        false_negative,
        none,
        np.zeros(len(ids), dtype=np.intp),
    )


def _detection(tables: PartTables) -> CaseMeasures:
    cases, names = len(tables.cases), tables.task.class_names
    # A class without an operating point calls from 0.5 on, as in the pictures of cases.
    points = {name: tables.task.operating_points.get(name, 0.5) for name in names}
    calls = call_boxes(tables.matches, names, 0, points)
    tp, fp, fn = (np.nansum(counts, axis=1) for counts in (calls.tp, calls.fp, calls.fn))
    both = 2 * tp + fp + fn
    value = np.where(both > 0, 2 * tp / np.maximum(both, 1), np.nan)
    none = np.zeros(cases, dtype=bool)
    return CaseMeasures(
        "F1 of its calls", value, True, *_unknown(cases), fp > 0, fn > 0, none, np.zeros(cases, dtype=np.intp)
    )


def _unknown(cases: int) -> tuple[FloatArray, str]:
    return np.full(cases, np.nan), ""
