"""Hostile files: one that ends or holds up its process costs itself, nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.base import ScanDataModule
from datamodules.checks.examine import examine_all
from datamodules.checks.measures import FAILED, READ
from datamodules.checks.units import FileUnits
from scansuite.errors import SuiteError


class Hostile(FileUnits):
    """Named files that do something; others are read at once."""

    def examine(self, unit: int, record: Any, note: Any) -> None:
        name = self.paths[unit]
        record["low"] = unit
        if name == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "exits":
            os._exit(3)
        elif name == "hangs":
            time.sleep(60)
        elif name == "raises":
            raise RuntimeError("strange")
        elif name == "bomb":
            np.ones(2**45, np.uint8)
        record["status"] = READ


def outcome(names: list[str], workers: int) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
    units = Hostile(ScanDataModule("."), names)
    status, low = np.zeros(len(names), int), np.full(len(names), -1.0)
    notes: dict[str, str] = {}
    for part in examine_all(units, workers, seconds=2):
        place = slice(part.start, part.start + len(part.records))
        assert (status[place] == 0).all(), "a unit was looked at twice"
        status[place], low[place] = part.records["status"], part.records["low"]
        notes |= {names[unit]: f"{kind}: {detail}" for unit, kind, detail in part.notes}
    return notes, status, low


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dead_process_is_a_finding_and_all_else_is_read(workers: int) -> None:
    names = [f"plain{number}" for number in range(150)]
    for place, name in ((0, "kills"), (70, "exits"), (71, "hangs"), (149, "raises"), (90, "bomb")):
        names[place] = name
    notes, status, low = outcome(names, workers)
    assert notes["kills"] == "crashed: the process that read it died (signal 9)"
    assert notes["exits"] == "crashed: the process that read it died (exit status 3)"
    assert notes["hangs"].startswith("too_slow: not read after 2 seconds")
    assert notes["raises"] == "unreadable: raises: RuntimeError: strange"
    assert notes["bomb"].startswith("unreadable: bomb: ")
    assert len(notes) == 5
    plain = np.array([name.startswith("plain") for name in names])
    assert (status[plain] == READ).all()
    assert (status[~plain] == FAILED).all()
    assert (low[plain] == np.flatnonzero(plain)).all()


def test_without_processes_the_answers_are_the_same() -> None:
    notes, status, _ = outcome(["a", "raises", "b"], 0)
    assert list(status) == [READ, FAILED, READ]
    assert set(notes) == {"raises"}


def test_no_units() -> None:
    assert list(examine_all(Hostile(ScanDataModule("."), []), 2)) == []


def test_a_missing_root_is_refused(tmp_path: Path) -> None:
    from tests.datamodules.checks.checking import findings

    with pytest.raises(SuiteError, match="nowhere"):
        findings(ScanDataModule(str(tmp_path / "nowhere")), tmp_path / "report")
