"""The case table as training would have it, with every mistake noted instead of stopping at the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.table import CaseTable
from datamodules.checks.store import FindingStore
from datamodules.checks.units import FileUnits, Units, loose_files, units_of
from datamodules.faults import Fault, collecting
from datamodules.preparation import add_people, add_split, draw, find_cases, leaves_out
from scansuite.errors import SuiteError

# Met again, and better told, when the files themselves are read.
_TOLD_LATER = ("mask_probe", "size")


@dataclass
class Survey:
    """What is known of the data before their files are read.

    Attributes:
        data: with its table set, where one could be built.
        units: what is to be read.
        table: the cases, or None.
        drawn: the suite draws the split (or its validation part): what hangs together is kept together then.
    """

    data: ScanDataModule
    units: Units
    table: CaseTable | None
    drawn: bool = True

    def cases(self) -> pd.DataFrame:
        """``case_id``, ``path`` and ``split`` of each case."""
        if self.table is None:
            return pd.DataFrame({name: pd.Series([], dtype="str") for name in ("case_id", "path", "split")})
        return self.table.cases[["case_id", "path", "split"]]

    def set_table(self, table: CaseTable) -> None:
        """Set the table, for the data module too."""
        self.table = table
        self.data.__dict__["table"] = table  # where its cached property keeps it


def take(data: ScanDataModule, store: FindingStore) -> Survey:
    """Build the table, or where that is not possible list the files.

    Raises:
        SuiteError: the root is missing.
    """
    if not data.root.exists():
        raise SuiteError(f"--data.root {data.root}: no such file or folder")

    def note(fault: Fault) -> None:
        if fault.kind not in _TOLD_LATER:
            store.note(replace(fault, path=short_path(fault.path, data.root)))

    with collecting(note):
        try:
            table = find_cases(data)
        except SuiteError as error:
            store.add("table", str(error))
            return Survey(data, FileUnits(data, loose_files(data.root)), None)
        try:
            table = add_people(data, table)
        except SuiteError as error:
            store.add("no_patient", str(error))
    survey = Survey(data, units_of(data), table)
    survey.set_table(table)
    return survey


def split(
    survey: Survey,
    store: FindingStore,
    hashes: Sequence[str],
    strata: NDArray[np.float64],
    keep: NDArray[np.bool_],
) -> None:
    """Fill in the split as training would.

    Args:
        survey: with a table.
        store: takes findings.
        hashes: content hash of each image of the table.
        strata: (N, S) what the split spreads evenly.
        keep: (N,) the cases that training has; the others are in no part.
    """
    data, table = survey.data, survey.table
    assert table is not None  # asked for by the caller
    if data.split == "all_test":
        survey.drawn = False
        survey.set_table(table.with_columns(split="test"))
        return

    def note(fault: Fault) -> None:
        store.note(fault)

    with collecting(note):
        try:
            table = add_split(data, table)
        except SuiteError as error:
            store.add("split", str(error))
    given = table.cases["split"]
    survey.drawn = bool(given.isna().all())
    if given.notna().any() and given.isna().any():
        for case in np.flatnonzero(given.isna()) if not leaves_out(data) else ():
            store.add("split", "is in no part of the split", case=int(case))
        survey.set_table(table)
        return
    try:
        chosen = table.select(keep.tolist())
        contents = [content for content, case in zip(hashes, table.images["case"], strict=True) if keep[case]]
        drawn = draw(data, chosen, strata[keep], contents).cases["split"]
        table = table.with_columns(split=drawn.set_axis(np.flatnonzero(keep)).reindex(table.cases.index).astype("str"))
    except SuiteError as error:
        store.add("split", str(error))
    survey.set_table(table)


def short_path(path: str, root: Path) -> str:
    """A path relative to the root where it lies below it."""
    prefix = f"{root.as_posix().rstrip('/')}/"
    return path.removeprefix(prefix)
