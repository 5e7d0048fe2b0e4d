"""Predictions of a model for files or arrays, as Python gets them: a table, and what a task adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

_ROWS_SHOWN = 10


@dataclass(frozen=True, repr=False, eq=False)
class Predictions:
    """Predictions of a model for files or arrays.

    Attributes:
        table: the columns of ``predictions.csv``: a row a case in classification, a case and class in segmentation, a
            box in detection.
        cases: ids of the cases that were predicted, also of those without a row.
        unreadable: (path, reason) of the files that were left out.
        paths: file of each case, or the folder of its series, by case id; empty where that is not known.
    """

    table: pd.DataFrame
    cases: Sequence[str]
    unreadable: Sequence[tuple[str, str]] = ()
    paths: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many cases were predicted."""
        return len(self.cases)

    def __repr__(self) -> str:
        table = self.table.to_string(index=False, max_rows=_ROWS_SHOWN, max_cols=12, float_format="{:.4g}".format)
        return "\n".join([self.summary(), *([table] if len(self.table) else [])])

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        table = self.table.to_html(index=False, max_rows=_ROWS_SHOWN, float_format="{:.4g}".format)
        return f"<p>{self.summary()}</p>{table if len(self.table) else ''}"

    def summary(self) -> str:
        """Number of cases, and of files that could not be read, in one line."""
        failed = ""
        if self.unreadable:
            failed = f", {_count(len(self.unreadable), 'file')} unreadable ({self.unreadable[0][1]})"
        return f"{_count(len(self), 'case')}{self.found()}{failed}"

    def found(self) -> str:
        """Summary of a task's over all cases in a few words; empty here."""
        return ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
