"""Patients, and what else is known of cases, from their paths or from a second table."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamodules.cases.ids import clean_id, clean_ids
from datamodules.cases.keyed import read_keyed, rows_of, without_row
from datamodules.cases.table import CaseTable, split_words
from datamodules.faults import report_fault
from datamodules.tables.form import AS_FOUND, TableForm
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

_TEXT = ("patient_id", "split")


def join_patients(table: CaseTable, pattern: str | None, file: Path | None, form: TableForm = AS_FOUND) -> CaseTable:
    """Fill ``patient_id`` (and further columns) from a regular expression on the path or from a second table.

    Args:
        table: the cases.
        pattern: ``--data.patient_pattern``: searched in the relative path; its first group (or the whole match) is the
            patient.
        file: ``--data.cases``: a CSV, TSV or Parquet table with ``case_id`` and ``patient_id``, and any further column.
            Its patients and its split go before the table's own, where its cell is not empty; columns that the table
            has, labels above all, stay.
        form: of that file, as flags say it.

    Raises:
        SuiteError: the pattern is no regular expression or leaves a path without a patient; the file lacks a column, a
            case, or names one twice; or its patients, joined with those that are known, would bear two kinds of names.
    """
    if pattern is not None:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise SuiteError(
                f"--data.patient_pattern {pattern!r} is no regular expression: {error}: correct it"
            ) from None
        matches = [compiled.search(path) for path in table.cases["path"]]
        texts = [match.group(1 if compiled.groups else 0) if match is not None else None for match in matches]
        found = [clean_id(text) if text is not None else None for text in texts]
        missed = [path for path, patient in zip(table.cases["path"], found, strict=True) if not patient]
        if missed:
            report_fault(
                "no_patient",
                f"--data.patient_pattern {pattern!r} finds no patient in {missed[0]} ({len(missed)} of {len(table)} "
                "paths): the pattern is searched in the path relative to --data.root",
                detail=f"--data.patient_pattern {pattern!r} finds no patient in this path",
                cases=[case for case, patient in enumerate(found) if not patient],
            )
        table = table.with_columns(patient_id=pd.Series(found, dtype="str"))
    if file is not None:
        table = _join_file(table, file, form)
    return table


def _join_file(table: CaseTable, file: Path, form: TableForm) -> CaseTable:
    hint = ": --data.cases is joined on it"
    further = read_keyed(
        file, "--data.cases", named=str(file), kind="case_name", text_columns=_TEXT, hint=hint, form=form
    )
    if "patient_id" in further:
        further = further.assign(patient_id=clean_ids(further["patient_id"]))
    missing = without_row(table, further)
    if len(missing):
        report_fault(
            "no_patient",
            f"{file}: no row for case_id {missing.iloc[0]!r} ({len(missing)} of {len(table)} cases are missing)",
            detail=f"no row for this case_id in --data.cases {file}",
            cases=missing.index,
        )
    if "split" in further:
        further = further.assign(split=split_words(further["split"], f"--data.cases {file}"))
    rows = rows_of(table, further)
    own = table.cases
    columns: dict[str, pd.Series[Any]] = {}
    for name in [str(name) for name in rows.columns if name != "path"]:
        if name == "patient_id":
            columns[name] = _patients(own, rows[name], file)
        elif name == "split":
            columns[name] = rows[name].where(rows[name].notna(), own[name])
        elif name not in own or own[name].isna().all():
            columns[name] = rows[name]
        else:
            _say_what_stays(own[name], rows[name], file)
    published = table.published_split and ("split" not in columns or bool((columns["split"] == own["split"]).all()))
    return replace(table.with_columns(**columns), published_split=published)


def _patients(own: pd.DataFrame, given: pd.Series[str], file: Path) -> pd.Series[str]:
    """The patients of a second table, and those that are known already where its cell is empty.

    Raises:
        SuiteError: that would name patients in two ways, which could part one.
    """
    known = own["patient_id"]
    kept = np.flatnonzero((given.isna() & known.notna()).to_numpy())
    differs = np.flatnonzero((given.notna() & known.notna() & (given != known)).to_numpy())
    if len(kept) and len(differs):
        blank, other = int(kept[0]), int(differs[0])
        report_fault(
            "no_patient",
            f"{file}: patient_id is empty for case_id {own['case_id'][blank]!r}, whose patient is {known[blank]!r}, "
            f"and calls {known[other]!r} of case_id {own['case_id'][other]!r} {given[other]!r}: patients named in two "
            "ways may be parted: fill the column, or leave it out",
        )
    return given.where(given.notna(), known)


def _say_what_stays(own: pd.Series[Any], given: pd.Series[Any], file: Path) -> None:
    """A line where a second table says something else of a column that the data have."""
    ours, theirs = clean_ids(own), clean_ids(given)
    count = int((theirs.notna() & (theirs != ours.fillna(""))).sum())
    if count:
        log.warning(
            "--data.cases %s: column %r is the data's own, which stays: %d cells that differ are not used",
            file,
            own.name,
            count,
        )
