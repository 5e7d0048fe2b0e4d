"""Identity of many cases, row by row, in memory that does not grow with the loader's processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datamodules.lazy import LazySequence
from datamodules.types import ScanInfo

if TYPE_CHECKING:
    import pandas as pd


class ScanRows(LazySequence[ScanInfo]):
    """Identity of cases as samples carry it: ``case_id``, ``patient_id`` (None where it is unknown), ``path``.

    Each is made when it is asked for. A million dictionaries would take half a GiB, and half a GiB more in each loader
    process: to count who refers to an object is to write to its page of memory, which is then copied.

    Args:
        cases: with these columns.
        rows: (N,) row numbers in ``cases``, of which some may come again; left out: all.
        path: whether the path is among them: that of a case is its first image's.
    """

    def __init__(self, cases: pd.DataFrame, rows: NDArray[np.int64] | None = None, *, path: bool = True) -> None:
        import pyarrow as pa  # here, because what predicts with an exported model has none

        names = ("case_id", "patient_id", *(("path",) if path else ()))
        # Arrow keeps texts in one piece, without an object for each.
        self._columns = {name: pa.array(cases[name], pa.large_string(), from_pandas=True) for name in names}
        self._rows = np.arange(len(cases)) if rows is None else np.asarray(rows, np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def _item(self, number: int) -> ScanInfo:
        row = int(self._rows[number])
        return ScanInfo(**{name: column[row].as_py() for name, column in self._columns.items()})  # type: ignore[typeddict-item]


class RowsByOwner(LazySequence[NDArray[np.int64]]):
    """Row numbers of what belongs to each owner (images of cases), cut out of one array when they are asked for.

    Args:
        owners: (M,) the owner of each row, 0..count-1.
        count: how many owners there are.
    """

    def __init__(self, owners: NDArray[np.int64], count: int) -> None:
        self._order = np.argsort(owners, kind="stable")
        self._ends = np.cumsum(np.bincount(owners, minlength=count))

    def __len__(self) -> int:
        return len(self._ends)

    def _item(self, number: int) -> NDArray[np.int64]:
        return self._order[int(self._ends[number - 1]) if number else 0 : int(self._ends[number])]

    def together(self, owners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(M,) rows of some owners one after the other, and (M,) the owner of each."""
        rows = [self[owner] for owner in owners]
        return np.concatenate([*rows, np.empty(0, np.int64)]), np.repeat(owners, [len(some) for some in rows])
