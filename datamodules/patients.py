"""Patients, and what else is known of cases, from their paths or from a second table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from datamodules.faults import refuse
from datamodules.table import CaseTable, read_frame, split_words
from datamodules.types import SuiteError


def join_patients(table: CaseTable, pattern: str | None, file: Path | None) -> CaseTable:
    """Fill ``patient_id`` (and further columns) from a regular expression on the path or from a second table.

    Args:
        table: the cases.
        pattern: ``--data.patient_pattern``: searched in the relative path; its first group (or the whole match) is the
            patient.
        file: ``--data.cases``: a CSV, TSV or Parquet table with ``case_id`` and ``patient_id``, and any further column.

    Raises:
        SuiteError: the pattern is no regular expression or leaves a path without a patient; the file lacks a column, a
            case, or names one twice.
    """
    if pattern is not None:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise SuiteError(f"--data.patient_pattern {pattern!r} is no regular expression: {error}") from None
        matches = [compiled.search(path) for path in table.cases["path"]]
        found = [match.group(1 if compiled.groups else 0) if match is not None else None for match in matches]
        missed = [path for path, patient in zip(table.cases["path"], found, strict=True) if not patient]
        if missed:
            refuse(
                "no_patient",
                f"--data.patient_pattern {pattern!r} finds no patient in {missed[0]} ({len(missed)} of {len(table)} "
                "paths): the pattern is searched in the path relative to --data.root",
                detail=f"--data.patient_pattern {pattern!r} finds no patient in this path",
                cases=[case for case, patient in enumerate(found) if not patient],
            )
        table = table.with_columns(patient_id=pd.Series(found, dtype="str"))
    if file is not None:
        table = _join_file(table, file)
    return table


def _join_file(table: CaseTable, file: Path) -> CaseTable:
    further = read_frame(file, flag="--data.cases", text_columns=("case_id", "patient_id"))
    if "case_id" not in further:
        raise SuiteError(
            f"{file}: no column case_id (found: {', '.join(further.columns)}): --data.cases is joined on it"
        )
    if further["case_id"].duplicated().any():
        name = further["case_id"][further["case_id"].duplicated()].iloc[0]
        refuse("case_name", f"{file}: case_id {name!r} stands twice")
        further = further.drop_duplicates("case_id")
    missing = table.cases["case_id"][~table.cases["case_id"].isin(further["case_id"])]
    if len(missing):
        refuse(
            "no_patient",
            f"{file}: no row for case_id {missing.iloc[0]!r} ({len(missing)} of {len(table)} cases are missing)",
            detail=f"no row for this case_id in --data.cases {file}",
            cases=missing.index,
        )
    if "split" in further:
        further["split"] = split_words(further["split"], f"--data.cases {file}")
        table = replace(table, published_split=False)
    rows = further.set_index("case_id").reindex(table.cases["case_id"]).reset_index(drop=True)
    columns = {str(name): rows[name] for name in rows.columns if name != "path"}
    return table.with_columns(**columns)
