"""A user's table with one row a case, found by ``case_id``: split files, and tables of patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from datamodules.cases.ids import clean_ids
from datamodules.cases.table import CaseTable
from datamodules.faults import report_fault
from datamodules.tables.file import read_frame
from datamodules.tables.form import AS_FOUND, TableForm
from scansuite.errors import SuiteError


def read_keyed(
    file: Path,
    flag: str,
    *,
    named: str,
    kind: str,
    columns: Sequence[str] = ("case_id",),
    text_columns: Sequence[str] = (),
    hint: str = "",
    form: TableForm = AS_FOUND,
) -> pd.DataFrame:
    """Read a table whose ``case_id`` is clean, filled and unique.

    Args:
        file: the table.
        flag: that names it.
        named: what messages call it.
        kind: of its mistakes, see :class:`~datamodules.faults.Fault`.
        columns: that it must have.
        text_columns: that are kept as text beside them.
        hint: behind the line that says that a column is missing.
        form: of the file, as flags say it.

    Raises:
        SuiteError: it cannot be read or lacks a column; outside a check, which goes on without such rows, a case has no
            name, or two rows.
    """
    frame = read_frame(file, flag=flag, text_columns=(*columns, *text_columns), form=form.of_joined())
    for column in columns:
        if column not in frame:
            raise SuiteError(
                f"{named}: no column {column} (found: {', '.join(frame.columns)}){hint}: rename it", kind=kind
            )
    frame = frame.assign(case_id=clean_ids(frame["case_id"]))
    nameless = frame["case_id"].isna()
    if nameless.any():
        row = int(np.flatnonzero(nameless)[0]) + 1
        report_fault(kind, f"{named}: case_id is empty in row {row}: name the case, or drop the row")
        frame = frame[~nameless]
    again = frame["case_id"].duplicated()
    if again.any():
        report_fault(kind, f"{named}: case_id {frame['case_id'][again].iloc[0]!r} is duplicated: keep one row")
        frame = frame[~again]
    return frame


def without_row(table: CaseTable, keyed: pd.DataFrame) -> pd.Series[str]:
    """The ids of the cases that a keyed table has no row for, by their row in the case table."""
    names = table.cases["case_id"]
    return names[~among(names, keyed["case_id"])]


def among(names: pd.Series[str], known: pd.Series[str]) -> pd.Series[bool]:
    """Whether each name is among the known ones; of a million in a quarter of the time that texts of Arrow take."""
    return names.astype(object).isin(known.astype(object))


def rows_of(table: CaseTable, keyed: pd.DataFrame) -> pd.DataFrame:
    """The row of each case in a keyed table, empty where it has none; in the order of the cases."""
    return keyed.set_index("case_id").reindex(table.cases["case_id"]).reset_index(drop=True)
