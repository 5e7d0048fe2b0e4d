"""Columns of the case table that come from the headers of DICOM files."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from datamodules.cases.ids import clean_ids
from datamodules.cases.table import CaseTable
from datamodules.readers.dicom.header import is_dicom
from datamodules.readers.dicom.identity import COLUMNS, identity, key
from datamodules.readers.format_table import DICOM, by_name
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

_PACKED = (".zip", ".gz", ".npz")


def join_identity(table: CaseTable, root: Path, *, keep_ids: bool = False) -> CaseTable:
    """Add what the headers of DICOM files say of their cases; a table without such files stays as it is.

    A column that the table has already stays. ``patient_id`` is filled in only where no case has one: patients named in
    two ways would be parted by a split. A case is described by its first file.

    Args:
        table: the cases.
        root: folder that their paths are relative to.
        keep_ids: PatientID as it stands, instead of its keyed hash.
    """
    files = {number: root / path for number, path in enumerate(table.cases["path"]) if _may_be_dicom(path)}
    chosen = [number for number, file in files.items() if file.is_dir() or is_dicom(file)]
    if not chosen:
        return table

    def describe(number: int) -> dict[str, str | None]:
        try:
            return identity(files[number], keep_ids=keep_ids)
        except SuiteError:  # a damaged file is named where its image is read
            return dict.fromkeys(COLUMNS)

    if not keep_ids:
        key()  # once, so that a key that cannot be used is said
    with ThreadPoolExecutor(4) as pool:
        found = pd.DataFrame(list(pool.map(describe, chosen)), index=chosen, columns=list(COLUMNS))
    found = found.reindex(range(len(table)))
    columns: dict[str, object] = {}
    for name in COLUMNS:
        values = pd.Series(found[name].to_numpy(), dtype="str")
        values = clean_ids(values) if name == "patient_id" else values
        if values.isna().all() or (name in table.cases and not table.cases[name].isna().all()):
            continue
        columns[name] = pd.to_numeric(values) if name == "age" else values
    if columns:
        log.info("from the DICOM headers of %d cases: %s", len(chosen), ", ".join(columns))
    return table.with_columns(**columns)


def _may_be_dicom(path: str) -> bool:
    """Whether it is worth a look: DICOM files and series folders have all kinds of names, but not these."""
    found = by_name(path)
    return (found is None or found is DICOM) and not path.lower().endswith(_PACKED)
