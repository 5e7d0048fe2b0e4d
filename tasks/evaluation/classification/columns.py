"""Columns of a predictions table as checked arrays, unknown cases left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# float32 probabilities that sum to one may end a little above it.
PROBABILITY_SLACK = 1e-6


@dataclass(frozen=True)
class SingleLabel:
    """Cases with one class each.

    Attributes:
        rows: ``(n,)`` row numbers of the table: those with a known target.
        target: ``(n,)`` true class number.
        prediction: ``(n,)`` called class number.
        score: ``(n, K)`` probabilities.
        at_operating_point: ``(n,)`` called class number there, -1 = no call; None without the column.
    """

    rows: NDArray[np.intp]
    target: NDArray[np.intp]
    prediction: NDArray[np.intp]
    score: FloatArray
    at_operating_point: NDArray[np.intp] | None


@dataclass(frozen=True)
class MultiLabel:
    """Cases with several labels, each there, absent or unknown.

    Attributes:
        rows: ``(n,)`` row numbers of the table: those with at least one known label.
        target: ``(n, L)``.
        known: ``(n, L)`` the target is known.
        prediction: ``(n, L)``.
        score: ``(n, L)`` probabilities.
        at_operating_point: ``(n, L)`` calls there; None without any such column.
        known_at_operating_point: ``(n, L)`` both target and that call are known.
    """

    rows: NDArray[np.intp]
    target: BoolArray
    known: BoolArray
    prediction: BoolArray
    score: FloatArray
    at_operating_point: BoolArray | None
    known_at_operating_point: BoolArray


def read_single_label(predictions: pd.DataFrame, class_names: Sequence[str]) -> SingleLabel:
    """Read ``target``, ``prediction``, ``score_<class>`` and, where there is one, ``prediction_op``.

    Raises:
        SuiteError: a column is missing, a class is not among ``class_names``, a prediction is empty, or a score is no
            probability.
    """
    target = class_numbers(predictions, "target", class_names)
    rows = np.flatnonzero(target >= 0)
    prediction = class_numbers(predictions, "prediction", class_names)[rows]
    if (prediction < 0).any():
        raise SuiteError(
            _at_row(predictions, "prediction", rows[prediction < 0][0], "is empty: predict the case again")
        )
    score = np.stack([_probabilities(predictions, f"score_{name}", rows) for name in class_names], axis=1)
    called = class_numbers(predictions, "prediction_op", class_names)[rows] if "prediction_op" in predictions else None
    return SingleLabel(rows, target[rows], prediction, score, called)


def read_multilabel(predictions: pd.DataFrame, class_names: Sequence[str]) -> MultiLabel:
    """Read ``target_<c>``, ``prediction_<c>``, ``score_<c>`` and, where there are any, ``prediction_op_<c>``.

    Raises:
        SuiteError: a column is missing, a cell is not 0, 1 or empty, a prediction is empty where the target is known, a
            score is no probability, or two labels share a column.
    """
    shared = [name for name in class_names if name.startswith("op_") and name[3:] in class_names]
    if shared:
        raise SuiteError(
            f"labels {shared[0]!r} and {shared[0][3:]!r} share the column prediction_{shared[0]}: rename one"
        )
    target = np.stack([_zero_one(predictions, f"target_{name}") for name in class_names], axis=1)
    rows = np.flatnonzero((~np.isnan(target)).any(axis=1))
    target = target[rows]
    known = ~np.isnan(target)
    prediction = np.stack([_zero_one(predictions, f"prediction_{name}")[rows] for name in class_names], axis=1)
    for i, name in enumerate(class_names):
        empty = rows[np.isnan(prediction[:, i]) & known[:, i]]
        if len(empty):
            raise SuiteError(_at_row(predictions, f"prediction_{name}", empty[0], "is empty: predict the case again"))
    score = np.stack(
        [_probabilities(predictions, f"score_{name}", rows, known[:, i]) for i, name in enumerate(class_names)], axis=1
    )
    called = np.full(target.shape, np.nan)
    columns = {
        i: f"prediction_op_{name}" for i, name in enumerate(class_names) if f"prediction_op_{name}" in predictions
    }
    for i, column in columns.items():
        called[:, i] = _zero_one(predictions, column)[rows]
    return MultiLabel(
        rows, target == 1, known, prediction == 1, score, called == 1 if columns else None, known & ~np.isnan(called)
    )


def read_regression(predictions: pd.DataFrame) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Row numbers with a known target, the targets and the predictions, each ``(n,)``.

    Raises:
        SuiteError: a column is missing, a cell is no finite number, or a prediction is empty.
    """
    target = _numbers(predictions, "target")
    rows = np.flatnonzero(~np.isnan(target))
    prediction = _numbers(predictions, "prediction")[rows]
    empty = rows[np.isnan(prediction)]
    if len(empty):
        raise SuiteError(_at_row(predictions, "prediction", empty[0], "is empty: did training diverge?"))
    return rows, target[rows], prediction


def class_numbers(predictions: pd.DataFrame, column: str, class_names: Sequence[str]) -> NDArray[np.intp]:
    """Class numbers of a column of class names, ``(n,)``; -1 where the cell is empty.

    Raises:
        SuiteError: the column is missing, or a name is not among ``class_names``.
    """
    names = _column(predictions, column)
    numbers = pd.Index(list(class_names)).get_indexer(pd.Index(names.astype("str"))).astype(np.intp)
    strange = np.flatnonzero((numbers < 0) & names.notna().to_numpy())
    if len(strange):
        known = ", ".join(map(str, class_names[:10])) + (", ..." if len(class_names) > 10 else "")
        raise SuiteError(_at_row(predictions, column, strange[0], f"is none of the model's classes ({known})"))
    return np.where(names.isna(), -1, numbers).astype(np.intp)


def _column(predictions: pd.DataFrame, column: str) -> pd.Series:
    if column not in predictions:
        raise SuiteError(f"predictions table: no column {column!r} (found: {', '.join(map(str, predictions.columns))})")
    return predictions[column]


def _numbers(predictions: pd.DataFrame, column: str) -> FloatArray:
    cells = _column(predictions, column)
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers) & cells.notna().to_numpy())
    if len(wrong):
        raise SuiteError(_at_row(predictions, column, wrong[0], "is no finite number"))
    return numbers


def _zero_one(predictions: pd.DataFrame, column: str) -> FloatArray:
    numbers = _numbers(predictions, column)
    wrong = np.flatnonzero(~np.isnan(numbers) & (numbers != 0) & (numbers != 1))
    if len(wrong):
        raise SuiteError(_at_row(predictions, column, wrong[0], "is not 0, 1 or empty"))
    return numbers


def _probabilities(
    predictions: pd.DataFrame, column: str, rows: NDArray[np.intp], needed: BoolArray | None = None
) -> FloatArray:
    numbers = _numbers(predictions, column)[rows]
    wrong = ~((numbers >= -PROBABILITY_SLACK) & (numbers <= 1 + PROBABILITY_SLACK))
    if needed is not None:
        wrong &= needed
    if wrong.any():
        raise SuiteError(_at_row(predictions, column, rows[wrong][0], "is no probability: did training diverge?"))
    return numbers


def _at_row(predictions: pd.DataFrame, column: str, row: int, problem: str) -> str:
    case = f" ({predictions['case_id'].iloc[row]})" if "case_id" in predictions else ""
    cell = predictions[column].iloc[row]
    shown = "" if pd.isna(cell) else f" {cell!r}" if isinstance(cell, str) else f" {cell}"
    return f"predictions table: {column}{shown} in row {row + 1}{case} {problem}"
