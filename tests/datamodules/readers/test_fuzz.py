"""Damaged files of every format are refused by name or read: no crash, no hang, no flood of memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.classification.image_table import ImageTable
from datamodules.readers.raster import write_png
from datamodules.segmentation.masks import read_palette
from datamodules.segmentation.volume_pairs import read_description
from datamodules.tables.file import read_frame
from scansuite.errors import SuiteError
from tests.datamodules.readers import fuzzing
from tests.datamodules.readers.fuzz_seeds import make_seeds

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of processes are Linux's")


def check(count: int, folder: Path, start: int = 0) -> None:
    shared = fuzzing._SHARED if fuzzing._SHARED.is_dir() else None
    report = fuzzing.run(count, 0, folder, shared=shared, start=start)
    assert sum(report.counts.values()) == count
    assert not report.faults, "\n".join(map(str, report.faults[:10]))
    assert report.peak < fuzzing.MEMORY
    # Damage that is never noticed, or always, would test nothing.
    for ending in ("read", "refused"):
        assert sum(number for (_, what), number in report.counts.items() if what == ending) > count // 20


def test_some_hundred_damaged_files(tmp_path: Path) -> None:
    check(400, tmp_path)


@pytest.mark.slow
def test_twenty_thousand_damaged_files(tmp_path: Path) -> None:
    check(20_000, tmp_path)


def test_a_case_that_stands_twice_is_told_with_its_table(tmp_path: Path) -> None:
    """Found by the fuzzer (case 15608 of seed 1)."""
    write_png(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "t.csv").write_text("path,label\na.png,x\na.png,y\n")
    with pytest.raises(SuiteError, match=r"t\.csv: case_id 'a' is duplicated"):
        ImageTable(str(tmp_path), table="t.csv").build_table()


def test_json_of_many_brackets(tmp_path: Path) -> None:
    """Found by the fuzzer (case 3618 of seed 4)."""
    (tmp_path / "a.json").write_text("[" * 100_000)
    for read in (read_description, read_palette):
        with pytest.raises(SuiteError, match=r"a\.json: .*recursion"):
            read(tmp_path / "a.json")


def test_letters_that_are_none_in_parquet(tmp_path: Path) -> None:
    """Found by the fuzzer (case 7932 of seed 2): Arrow hands them on, and fails where they are looked at."""
    pd.DataFrame({"path": ["a.png", "Zoë.png"], "label": ["x", "y"]}).to_parquet(
        tmp_path / "t.parquet", compression=None, use_dictionary=False
    )
    data = (tmp_path / "t.parquet").read_bytes()
    assert "Zoë.png".encode() in data
    (tmp_path / "t.parquet").write_bytes(data.replace("Zoë.png".encode(), b"Zo\xff\xff.png"))
    with pytest.raises(SuiteError, match=r"t\.parquet: cannot be read as a table"):
        read_frame(tmp_path / "t.parquet", "--data.table", text_columns=("path",))


def test_the_fuzzer_sees_what_must_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that crash, hang, flood memory, raise something else, or do not name the file."""
    import os
    import signal

    def hang() -> None:
        while True:
            pass

    def unnamed() -> None:
        raise SuiteError("something is wrong")

    seeds = make_seeds(tmp_path, None)
    numbers = [number for number in range(200) if fuzzing.damaged(number, 0, seeds)[0].target == "volume"][:5]
    bad: dict[int, Callable[[], object]] = {
        numbers[0]: lambda: os.kill(os.getpid(), signal.SIGSEGV),
        numbers[1]: lambda: bytearray(3 << 30),
        numbers[2]: hang,
        numbers[3]: unnamed,
    }
    whole = {fuzzing.damaged(number, 0, seeds)[1]: act for number, act in bad.items()}

    def read(file: Path) -> object:
        act = whole.get(file.read_bytes())
        return act() if act is not None else None

    monkeypatch.setitem(fuzzing._TARGETS, "volume", (read,))
    monkeypatch.setattr(fuzzing, "SECONDS", 0.3)
    for target in fuzzing._TARGETS:
        if target != "volume":
            monkeypatch.setitem(fuzzing._TARGETS, target, ())
    found = {fault.case: fault.what for fault in fuzzing.run(numbers[3] + 1, 0, tmp_path).faults}
    assert sorted(found) == numbers[:4]
    assert found[numbers[0]] == "SIGSEGV"
    assert found[numbers[1]].startswith("MemoryError")
    assert found[numbers[2]] == "SIGPROF"
    assert found[numbers[3]].startswith("does not name the file")
