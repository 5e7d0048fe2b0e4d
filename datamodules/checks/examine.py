"""Examination of all units of a data set, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.cases.pool import Lost, in_chunks
from datamodules.checks.measures import FAILED, RECORD
from datamodules.checks.units import Units


class Examined(NamedTuple):
    """Units that were looked at, in a row.

    Attributes:
        start: number of the first.
        records: (n,) of :data:`~datamodules.checks.measures.RECORD`.
        notes: (unit, kind, detail) of what is wrong.
    """

    start: int
    records: NDArray[Any]
    notes: list[tuple[int, str, str]]


def examine_all(units: Units, workers: int, seconds: float = 120.0) -> Iterator[Examined]:
    """Look at all units, in any order of chunks.

    Args:
        units: what to look at.
        workers: processes; 0 looks in this one, without protection.
        seconds: what one unit may take before its process is ended.

    Yields:
        Each unit once.
    """
    for part in in_chunks(partial(_examine, units), len(units), workers, seconds):
        if isinstance(part, Lost):
            record = np.zeros(1, RECORD)
            record["status"] = FAILED
            yield Examined(part.unit, record, [(part.unit, part.kind, part.text)])
        else:
            yield part


def _examine(units: Units, start: int, stop: int, tell: Callable[[int], None]) -> Examined:
    records = np.zeros(stop - start, RECORD)
    notes: list[tuple[int, str, str]] = []
    for unit in range(start, stop):
        tell(unit)

        def note(kind: str, detail: str, unit: int = unit) -> None:
            notes.append((unit, kind, detail))

        record = records[unit - start]
        try:
            units.examine(unit, record, note)
        except Exception as error:  # whatever a crafted file brings about, the other files are still to be read
            record["status"] = FAILED
            reason = " ".join(str(error).split())[:200]
            note("unreadable", f"{units.path(unit)}: {type(error).__name__}: {reason}".rstrip(": "))
    return Examined(start, records, notes)
