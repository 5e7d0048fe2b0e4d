"""What a classifier is to say about a case: kind of target, class names, and the values as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.strata import number_strata
from datamodules.types import SuiteError, nearest

TargetKind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]
TARGET_KINDS: tuple[str, ...] = get_args(TargetKind)
# What a cell of a multilabel target may say; an empty one is unknown.
LABEL_WORDS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


@dataclass(frozen=True)
class ClassificationTarget:
    """Targets of all cases of a table.

    Attributes:
        kind: binary and multiclass and ordinal have one class a case, multilabel any number, regression a number.
        class_names: names in class order; the labels' names for multilabel, the column's name for regression.
        values: (N,) int64; (N, L) float32 with NaN = unknown for multilabel; (N,) float32 for regression.
    """

    kind: TargetKind
    class_names: tuple[str, ...]
    values: NDArray[Any]

    def strata(self) -> NDArray[np.float64]:
        """(N, S) indicators for a stratified split: one-hot classes, label indicators, or ranges of numbers."""
        if self.kind == "multilabel":
            strata = np.nan_to_num(self.values).astype(np.float64)
        elif self.kind == "regression":
            codes = number_strata(self.values.astype(np.float64))
            strata = np.eye(int(codes.max()) + 1)[codes]
        else:
            strata = np.eye(len(self.class_names))[self.values]
        return cast("NDArray[np.float64]", strata)

    def counts(self, rows: NDArray[np.bool_] | None = None) -> list[float]:
        """How often each class (or positive label) occurs among the rows; empty for regression."""
        if self.kind == "regression":
            return []
        strata = self.strata() if rows is None else self.strata()[rows]
        return [float(count) for count in strata.sum(axis=0)]


def make_target(
    frame: pd.DataFrame,
    columns: Sequence[str],
    *,
    kind: str | None = None,
    class_order: Sequence[str] | None = None,
    where: str,
) -> ClassificationTarget:
    """Turn label columns into numbers.

    Several columns are multilabel (0, 1 or empty = unknown; true/false count). One column is regression or ordinal only
    if ``kind`` says so; otherwise its values are class names, two of them binary, more multiclass. Class order is
    ``class_order``, else numeric where all names are integers, else alphabetic.

    Args:
        frame: one row a case.
        columns: label columns of the frame.
        kind: one of :data:`TARGET_KINDS`, or None to infer it.
        class_order: names in class order.
        where: the file or flag to name in messages.

    Raises:
        SuiteError: a column is missing, all values are unknown, a value does not fit the kind, or one class only.
    """
    for column in columns:
        if column not in frame:
            hint = nearest(column, map(str, frame.columns))
            raise SuiteError(f"{where}: no label column {column!r} for --data.label_columns: {hint}")
    if kind is not None and kind not in TARGET_KINDS:
        raise SuiteError(f"target {kind!r} is none of {', '.join(TARGET_KINDS)}")
    if kind == "multilabel" or (kind is None and len(columns) > 1):
        return _multilabel(frame, columns, where)
    if len(columns) != 1:
        raise SuiteError(f"{where}: a {kind} target has one label column, {len(columns)} were given")
    labels = frame[columns[0]]
    if kind == "ordinal" and class_order is None and not class_text(labels).str.fullmatch(r"-?\d+").all():
        raise SuiteError(
            f"{where}: the grades in column {columns[0]!r} are no whole numbers: say their order, lowest first, with "
            "--data.class_names"
        )
    empty = np.flatnonzero(labels.isna() | (labels.astype("str").str.strip() == ""))
    if len(empty):
        raise SuiteError(
            f"{where}: column {columns[0]!r} is empty in row {empty[0] + 1} ({len(empty)} of {len(frame)} rows): give "
            "each case a label, or drop the row"
        )
    if kind == "regression":
        return _regression(labels, where)
    return _classes(labels, kind, class_order, where)


def _multilabel(frame: pd.DataFrame, columns: Sequence[str], where: str) -> ClassificationTarget:
    values = np.full((len(frame), len(columns)), np.nan, dtype=np.float32)
    for position, name in enumerate(columns):
        text = frame[name].astype("str").str.strip().str.lower()
        numbers = text.map(LABEL_WORDS)
        strange = frame[name][text.notna() & ~text.isin(["", "nan", "na"]) & numbers.isna()]
        if len(strange):
            raise SuiteError(
                f"{where}: column {name!r} has {str(strange.iloc[0])!r} in row {int(strange.index[0]) + 1}: a label is "
                "0, 1 or empty (unknown)"
            )
        values[:, position] = numbers.to_numpy(dtype=np.float32)
    if np.isnan(values).all():
        raise SuiteError(f"{where}: the label columns {', '.join(columns)} are empty in all {len(frame)} rows")
    return ClassificationTarget("multilabel", tuple(columns), values)


def _regression(column: pd.Series[Any], where: str) -> ClassificationTarget:
    numbers = pd.to_numeric(column, errors="coerce")
    strange = column[numbers.isna() | np.isinf(numbers)]
    if len(strange):
        raise SuiteError(
            f"{where}: column {column.name!r} has {str(strange.iloc[0])!r} in row {int(strange.index[0]) + 1}: a "
            "regression target is a finite number"
        )
    return ClassificationTarget("regression", (str(column.name),), numbers.to_numpy(dtype=np.float32))


def _classes(
    column: pd.Series[Any], kind: str | None, class_order: Sequence[str] | None, where: str
) -> ClassificationTarget:
    text = class_text(column)
    found = sorted(text.unique(), key=_by_number_then_name(text))
    names = list(class_order) if class_order is not None else found
    strangers = [name for name in found if name not in names]
    if strangers:
        row = int(np.flatnonzero(text == strangers[0])[0]) + 1
        raise SuiteError(
            f"{where}: class {strangers[0]!r} in row {row} is none of the classes {', '.join(names)}: rename it with "
            "--data.class_map"
        )
    if len(names) < 2:
        raise SuiteError(
            f"{where}: column {column.name!r} has one class only ({names[0]!r}): there is nothing to learn"
        )
    if kind == "binary" and len(names) != 2:
        raise SuiteError(f"{where}: column {column.name!r} has {len(names)} classes, a binary target has 2")
    number = {name: position for position, name in enumerate(names)}
    values = text.map(number).to_numpy(dtype=np.int64)
    inferred = kind or ("binary" if len(names) == 2 else "multiclass")
    return ClassificationTarget(cast("TargetKind", inferred), tuple(names), values)


def class_text(column: pd.Series[Any]) -> pd.Series[str]:
    """Class names as text: 1.0 is ``1``."""
    if pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1 == 0).all()):
        column = column.astype("Int64")
    return column.astype("str").str.strip()


def _by_number_then_name(text: pd.Series[str]) -> Any:
    numeric = bool(text.str.fullmatch(r"-?\d+").all())
    return int if numeric else str
