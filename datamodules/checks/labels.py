"""Checks of labels: whether they are a target, and each part has all classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from datamodules.cases.class_names import class_text, not_meant
from datamodules.cases.table import SPLITS, CaseTable
from datamodules.checks.plots import Bars, Numbers, Plot
from datamodules.checks.store import FindingStore
from datamodules.classification.target import ClassificationTarget, read_labels
from datamodules.stored import StoredLabels
from scansuite.errors import SuiteError, nearest

_RARE = 10
_MOST_CLASSES = 40


class Labels:
    """The targets of the cases whose labels can be read.

    Args:
        table: the cases.
        stored: their labels.
        store: takes findings.

    Attributes:
        target: None where the labels are no target at all.
        rows: the cases that it speaks of.
        strata: (N, S) what a split should spread evenly; zeros where a label is unknown.
    """

    def __init__(self, table: CaseTable, stored: StoredLabels, store: FindingStore) -> None:
        self.store, self.stored = store, stored
        good = np.ones(len(table), bool)
        if all(column in stored.frame for column in stored.columns):
            for case, kind, detail in _bad_labels(stored):
                store.add(kind, detail, case=case)
                good[case] = False
        self.rows = np.flatnonzero(good)
        self.target: ClassificationTarget | None = None
        self.strata = np.ones((len(table), 1))
        try:
            if len(self.rows) == 0:
                raise SuiteError(f"{stored.where}: no case has a label")
            self.target = stored.target(table.select(good.tolist()))
        except SuiteError as error:
            store.add("labels", str(error))
            return
        of_good = self.target.strata()
        self.strata = np.zeros((len(table), of_good.shape[1]))
        self.strata[self.rows] = of_good
        self._check_names(self.target.class_names)

    def _check_names(self, names: Sequence[str]) -> None:
        positive = self.stored.positive
        if self.target is not None and self.target.kind == "binary" and positive is not None and positive not in names:
            text = f"--data.positive_class {positive!r} is none of the classes {', '.join(names)}"
            self.store.add("labels", text)
        plain: dict[str, str] = {}
        for name in names:
            other = plain.setdefault("".join(name.casefold().split()), name)
            if other != name:
                self.store.add("class_spelling", f"{other!r} and {name!r}: join them with --data.class_map")

    def words(self, case: int) -> str:
        """The label of a case (row of the table), or its labels; "" where it is unknown."""
        place = int(np.searchsorted(self.rows, case))
        if self.target is None or place == len(self.rows) or self.rows[place] != case:
            return ""
        names, value = self.target.class_names, self.target.values[place]
        if self.target.kind == "multilabel":
            return ", ".join(name for name, one in zip(names, value, strict=True) if one == 1) or "none of the labels"
        return f"{value:.4g}" if self.target.kind == "regression" else names[int(value)]

    def by_part(self, split: pd.Series[str]) -> list[Plot]:
        """Count classes in each part, and note those that a part lacks.

        Args:
            split: the part of each case.
        """
        target = self.target
        if target is None:
            return []
        parts = split.to_numpy()[self.rows]
        if target.kind == "regression":
            numbers = {part: target.values[parts == part] for part in SPLITS if (parts == part).any()}
            return [Numbers("Targets", numbers, target.class_names[0])]
        counts = {part: target.counts(parts == part) for part in SPLITS if (parts == part).any()}
        return class_counts(counts, target.class_names, self.store, refused=True)


def class_counts(
    counts: dict[str, list[float]], names: Sequence[str], store: FindingStore, *, refused: bool, what: str = "case"
) -> list[Plot]:
    """Plots of the classes of each part; a class that one lacks is a finding.

    Args:
        counts: part -> number for each class.
        names: of the classes.
        store: takes findings.
        refused: whether training stops where a class has no training case.
        what: is counted.
    """
    several = f"{what}es" if what.endswith("x") else f"{what}s"
    for part, numbers in counts.items():
        for name, number in zip(names, numbers, strict=True):
            if number == 0 and part == "train" and refused:
                store.add("class_missing", f"class {name!r} has no training {what}")
            elif number == 0:
                store.add("class_absent", f"class {name!r} has no {what} in {part}")
            elif part == "train" and number < _RARE:
                store.add("class_rare", f"class {name!r} has {number:.0f} training {several}")
    left = len(names) - _MOST_CLASSES
    note = f"and {left} classes more" if left > 0 else ""
    return [
        Bars(
            f"{several.capitalize()} in {part}",
            [(name, int(number)) for name, number in zip(names, numbers, strict=True)][:_MOST_CLASSES],
            "class",
            note,
        )
        for part, numbers in counts.items()
    ]


def _bad_labels(stored: StoredLabels) -> Iterator[tuple[int, str, str]]:
    """Case, kind and detail of labels that :func:`~datamodules.classification.target.make_target` refuses."""
    frame, columns, kind, order = stored.frame, stored.columns, stored.kind, stored.classes
    if kind == "multilabel" or (kind is None and len(columns) > 1):
        for column in columns:
            for case in np.flatnonzero(read_labels(frame[column])[1]).tolist():
                found = str(frame[column].iat[case])
                yield int(case), "unknown_label", f"{column!r} is {found!r}: a label is 0, 1 or empty (unknown)"
        return
    labels = frame[columns[0]]
    text = class_text(labels)
    empty = text.isna().to_numpy(bool)
    for case in np.flatnonzero(empty).tolist():
        yield int(case), "empty_label", f"column {columns[0]!r} is empty"
    if kind == "regression":
        numbers = pd.to_numeric(labels, errors="coerce")
        strange = (numbers.isna() | np.isinf(numbers)).to_numpy(bool) & ~empty
        for case in np.flatnonzero(strange).tolist():
            yield int(case), "unknown_label", f"{str(labels.iat[case])!r} is no finite number"
        return
    if order is None:
        for case, name in enumerate(text):
            why = None if empty[case] else not_meant(name)
            if why is not None:
                yield case, "unknown_label", f"label {name!r} {why}: drop the case, or see --data.class_names"
    else:
        for case in np.flatnonzero(~text.isin(order).to_numpy(bool) & ~empty).tolist():
            name = str(text.iat[case])
            yield int(case), "unknown_label", f"class {name!r} is none of the classes: {nearest(name, order)}"
