"""Cases that are read one by one: those of a data module, or of files alone. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.table import CaseTable
from datamodules.lazy import LazySequence
from datamodules.types import Scan, ScanInfo

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule


class CaseSource(Protocol):
    """Cases that can be read one by one. It is pickled for the processes of a loader."""

    def __len__(self) -> int:
        """How many cases there are."""

    def scan_of(self, case: int) -> ScanInfo:
        """Identity of a case (case_id, path, patient_id) without reading anything."""

    def images(self, case: int) -> Sequence[Scan]:
        """The images of a case; each is read when it is asked for.

        Raises:
            SuiteError: the case cannot be read; also when an image is asked for.
        """


class LazyScans(LazySequence[Scan]):
    """Scans that are read when they are asked for, and not kept.

    Args:
        count: how many there are.
        read: number 0..count-1 -> scan.
    """

    def __init__(self, count: int, read: Callable[[int], Scan]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    def _item(self, number: int) -> Scan:
        return self._read(number)


class TableCases(CaseSource):
    """Cases of a data module.

    Args:
        data: reads the images.
        rows: (N,) row numbers of its table's cases; case 0 is the first of them.
    """

    def __init__(self, data: ScanDataModule, rows: NDArray[np.int64]) -> None:
        self.data, self.rows = data, rows
        self._images = [data.table.images_by_case[row] for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def scan_of(self, case: int) -> ScanInfo:
        """Identity of a case from the table: case_id, patient_id and path."""
        row = self.data.table.cases.iloc[self.rows[case]]
        patient = None if pd.isna(row["patient_id"]) else str(row["patient_id"])
        return ScanInfo(case_id=str(row["case_id"]), patient_id=patient, path=str(row["path"]))

    def images(self, case: int) -> Sequence[Scan]:
        """The images of a case as the data module reads them."""
        images = self._images[case]
        return LazyScans(len(images), lambda number: self.data.read(int(images[number])))


class FileCases(CaseSource):
    """Cases of files whose paths stand on their own; how they are read is for a subclass to say.

    Args:
        table: the files of each case.
    """

    def __init__(self, table: CaseTable) -> None:
        cases = table.cases
        self._scans = [
            ScanInfo(case_id=case_id, patient_id=None, path=path)
            for case_id, path in zip(cases["case_id"], cases["path"], strict=True)
        ]
        self.files: list[list[Path]] = [[] for _ in self._scans]
        for case, path in zip(table.images["case"], table.images["path"], strict=True):
            self.files[case].append(Path(path))

    def __len__(self) -> int:
        return len(self._scans)

    def scan_of(self, case: int) -> ScanInfo:
        """The case's name, and its (first) file."""
        return self._scans[case]
