"""Target of a classifier: kind, class names, and the values as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.class_names import class_text, refuse_unmeant, too_many_fractions
from datamodules.splitting.strata import number_strata
from scansuite.errors import SuiteError, nearest

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
        """Number of times that each class (or positive label) occurs among the rows; empty for regression."""
        if self.kind == "regression":
            return []
        strata = self.strata() if rows is None else self.strata()[rows]
        return [float(count) for count in strata.sum(axis=0)]

    def statistics(self, rows: NDArray[np.int64]) -> list[float] | None:
        """Mean and standard deviation of a regression's numbers among the rows; None where there are none.

        The deviation of numbers that are all equal is given as 1: there is nothing to scale by.
        """
        if self.kind != "regression":
            return None
        numbers = self.values[rows].astype(np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return None
        return [float(numbers.mean()), float(numbers.std()) if numbers.min() < numbers.max() else 1.0]


def make_target(
    frame: pd.DataFrame,
    columns: Sequence[str],
    *,
    kind: str | None = None,
    class_order: Sequence[str] | None = None,
    found_order: Sequence[str] | None = None,
    where: str,
) -> ClassificationTarget:
    """Turn label columns into numbers.

    Several columns are multilabel (0, 1 or empty = unknown; true/false count). One column is regression or ordinal only
    if ``kind`` says so; otherwise its values are class names, two of them binary, more multiclass. Class order is
    ``class_order``, else ``found_order`` where the classes have no rank, else numeric where all names are integers,
    else alphabetic; grades must be integers where nobody lists them.

    Args:
        frame: one row a case.
        columns: label columns of the frame.
        kind: one of :data:`TARGET_KINDS`, or None to infer it.
        class_order: names in class order, as the user, a trained model or the publisher lists them.
        found_order: names as they were found, where their order means nothing.
        where: the file or flag to name in messages.

    Raises:
        SuiteError: a column is missing, all values are unknown, a value does not fit the kind, one class only, grades
            whose order is not known, or an unlisted class whose name is hardly one (-1, ``nan``).
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
        raise SuiteError(f"{where}: a {kind} target has one label column, {len(columns)} were given: name one")
    labels = frame[columns[0]]
    empty = np.flatnonzero(class_text(labels).isna())
    if len(empty):
        raise SuiteError(
            f"{where}: column {columns[0]!r} is empty in row {empty[0] + 1} ({len(empty)} of {len(frame)} rows): give "
            "each case a label, or drop the row"
        )
    if kind == "regression":
        return _regression(labels, where)
    return _classes(labels, kind, class_order, found_order, where)


def _multilabel(frame: pd.DataFrame, columns: Sequence[str], where: str) -> ClassificationTarget:
    values = np.full((len(frame), len(columns)), np.nan, dtype=np.float32)
    for position, name in enumerate(columns):
        numbers, unclear = read_labels(frame[name])
        strange = frame[name][unclear]
        if len(strange):
            raise SuiteError(
                f"{where}: column {name!r} has {str(strange.iloc[0])!r} in row {int(strange.index[0]) + 1}: a label is "
                "0, 1 or empty (unknown): correct it, or leave the column out"
            )
        values[:, position] = numbers.to_numpy(dtype=np.float32)
    if np.isnan(values).all():
        raise SuiteError(
            f"{where}: the label columns {', '.join(columns)} are empty in all {len(frame)} rows: name others with "
            "--data.label_columns"
        )
    return ClassificationTarget("multilabel", tuple(columns), values)


def read_labels(column: pd.Series[Any]) -> tuple[pd.Series[float], pd.Series[bool]]:
    """A label's cells as 0, 1 or NaN (unknown), and which of them say something else."""
    text = column.astype("str").str.strip().str.lower()
    numbers = text.map(LABEL_WORDS).astype("float64")
    return numbers, text.notna() & ~text.isin(["", "nan", "na"]) & numbers.isna()


def join_labels(columns: pd.DataFrame) -> pd.Series[Any]:
    """Several labels as one: 1 where any is, 0 where all are, else unknown; what is no label stays, to be named."""
    read = [read_labels(columns[name]) for name in columns]
    numbers = pd.concat([values for values, _ in read], axis=1)
    joined = numbers.max(axis=1).where((numbers == 1).any(axis=1) | numbers.notna().all(axis=1)).astype(object)
    for name, (_, unclear) in zip(columns, read, strict=True):
        joined = joined.mask(unclear, columns[name])
    return joined


def _regression(column: pd.Series[Any], where: str) -> ClassificationTarget:
    with np.errstate(over="ignore"):
        numbers = pd.to_numeric(column, errors="coerce").astype("float32")
    strange = column[numbers.isna() | np.isinf(numbers)]
    if len(strange):
        raise SuiteError(
            f"{where}: column {column.name!r} has {str(strange.iloc[0])!r} in row {int(strange.index[0]) + 1}: a "
            "regression target is a finite number (of at most 3e38): correct it, or drop the row"
        )
    return ClassificationTarget("regression", (str(column.name),), numbers.to_numpy(dtype=np.float32))


def _classes(
    column: pd.Series[Any],
    kind: str | None,
    class_order: Sequence[str] | None,
    found_order: Sequence[str] | None,
    where: str,
) -> ClassificationTarget:
    text = class_text(column)
    integers = bool(text.str.fullmatch(r"-?\d+").all())
    found = sorted(text.unique(), key=int if integers else str)
    names = list(class_order) if class_order is not None else found
    if class_order is None:
        _refuse_unlisted(text, found, column, where)
        if kind == "ordinal" and not integers:
            raise SuiteError(
                f"{where}: the grades in column {column.name!r} are no whole numbers ({', '.join(found[:5])}): say "
                "their order, lowest first, with --data.class_names"
            )
        if found_order is not None and kind != "ordinal":
            names = list(found_order)
    strangers = [name for name in found if name not in names]
    if strangers:
        row = int(np.flatnonzero(text == strangers[0])[0]) + 1
        raise SuiteError(
            f"{where}: class {strangers[0]!r} in row {row} is none of the classes {', '.join(names)}: rename it with "
            "--data.class_map"
        )
    if len(names) < 2:
        raise SuiteError(
            f"{where}: column {column.name!r} has one class only ({names[0]!r}): there is nothing to learn: "
            "add cases of another class, or name the right --data.root or --data.label_columns"
        )
    if kind == "binary" and len(names) != 2:
        raise SuiteError(
            f"{where}: column {column.name!r} has {len(names)} classes, a binary target has 2: give "
            "--data.target multiclass, or join some with --data.class_map"
        )
    number = {name: position for position, name in enumerate(names)}
    values = text.map(number).to_numpy(dtype=np.int64)
    inferred = kind or ("binary" if len(names) == 2 else "multiclass")
    return ClassificationTarget(cast("TargetKind", inferred), tuple(names), values)


def _refuse_unlisted(text: pd.Series[str], found: Sequence[str], column: pd.Series[Any], where: str) -> None:
    """Refuse what is hardly a class, where nobody has listed the classes."""
    for name in found:
        row = int(np.flatnonzero(text == name)[0]) + 1
        refuse_unmeant([name], f"{where}: column {column.name!r}, row {row}", "--data.class_names")
    fraction = too_many_fractions(found)
    if fraction is not None:
        raise SuiteError(
            f"{where}: column {column.name!r} has {len(found)} different values, many of them fractions ({fraction}): "
            "give --data.target regression, or list the classes in --data.class_names"
        )
