"""Copies of caches on a disk of the machine: whole, once, gone at the end, and never needed."""

from __future__ import annotations

import logging
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.caching import scratch as module
from datamodules.caching.cache import VolumeCache
from datamodules.caching.scratch import Scratch

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        (folder / "images" / f"{number}.arrow").write_bytes(bytes([number]) * 1000)
    return folder


def files(shared: Path) -> list[Path]:
    return sorted((shared / "images").glob("*.arrow"))


def test_files_are_copied_once(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", str(tmp_path))
    scratch = Scratch("$HERE/fast", shared, keep=True)
    copies = scratch.copies(files(shared))
    assert [copy.read_bytes() for copy in copies] == [file.read_bytes() for file in files(shared)]
    assert all((tmp_path / "fast") in copy.parents for copy in copies)
    stamps = [copy.stat().st_ino for copy in copies]
    assert Scratch(str(tmp_path / "fast"), shared, keep=True).copies(files(shared)) == copies
    assert [copy.stat().st_ino for copy in copies] == stamps


def test_a_copy_of_another_size_is_made_again(shared: Path, tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path / "fast"), shared, keep=True)
    [copy] = scratch.copies(files(shared)[:1])
    copy.write_bytes(b"short")
    assert scratch.copies(files(shared)[:1]) == [copy]
    assert copy.read_bytes() == files(shared)[0].read_bytes()
    assert not list(copy.parent.glob(".*.tmp"))


@pytest.mark.parametrize("why", ["unset", "full", "no_folder", "small_for_one"])
def test_where_there_can_be_no_copy_the_shared_files_are_read_and_one_line_says_so(
    why: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = str(tmp_path / "fast")
    if why == "unset":
        monkeypatch.delenv("SLURM_TMPDIR", raising=False)
        given = "$SLURM_TMPDIR/x"
    if why == "no_folder":
        (tmp_path / "taken").write_text("")
        given = str(tmp_path / "taken" / "fast")
    if why in ("full", "small_for_one"):
        free = 1000 if why == "full" else module._RESERVE + 2000

        def usage(folder: Path) -> Any:
            made = sum(file.stat().st_size for file in (tmp_path / "fast").rglob("*.arrow"))
            return type("Usage", (), {"free": free - made})

        monkeypatch.setattr("shutil.disk_usage", usage)
    scratch = Scratch(given, shared, keep=True)
    found = scratch.copies(files(shared))
    assert [file.read_bytes() for file in found] == [file.read_bytes() for file in files(shared)]
    assert [shared in file.parents for file in found] == (
        [False, False, True] if why == "small_for_one" else [True] * 3
    )
    assert scratch.copies(files(shared)[2:]) == files(shared)[2:]
    [record] = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert record.getMessage().startswith(f"--data.scratch {given}: ")
    assert f"caches are read from {shared}" in record.getMessage()


def test_a_folder_of_somebody_else_is_not_used(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 12345)
    (tmp_path / "fast" / "scansuite-12345").mkdir(parents=True)
    assert Scratch(str(tmp_path / "fast"), shared).copies(files(shared)) == files(shared)
    assert "belongs to another user" in caplog.text


@pytest.mark.parametrize("keep", [False, True])
def test_copies_go_with_the_process_that_made_them(keep: bool, shared: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datamodules.caching.scratch import Scratch\n"
        f"shared = Path({str(shared)!r}); files = sorted((shared / 'images').glob('*.arrow'))\n"
        f"found = Scratch({str(tmp_path / 'fast')!r}, shared, keep={keep}).copies(files)\n"
        "assert all(file.exists() and shared not in file.parents for file in found)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
    assert len(list((tmp_path / "fast").rglob("*.arrow"))) == (3 if keep else 0)
    assert len(files(shared)) == 3


def copies_in_child(shared: Path, fast: Path, results: Any) -> None:
    results.put(Scratch(str(fast), shared).copies(files(shared)))


def test_processes_of_loaders_use_copies_and_make_none(shared: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    made: list[Path] = []
    for wanted in (0, 2):
        results = context.Queue()
        process = context.Process(target=copies_in_child, args=(shared, tmp_path / "fast", results))
        process.start()
        found = results.get(timeout=20)
        process.join(20)
        assert found == made + files(shared)[wanted:]
        made = Scratch(str(tmp_path / "fast"), shared, keep=True).copies(files(shared)[:2])


def test_volumes_are_mapped_from_scratch(tmp_path: Path) -> None:
    file = tmp_path / "scan.raw"
    file.write_bytes(b"voxels")
    shared = tmp_path / "shared"
    cache = VolumeCache(shared / "volumes", scratch=Scratch(str(tmp_path / "fast"), shared, keep=True))
    array = cache.get(file, {}, lambda: np.arange(10))
    assert (tmp_path / "fast") in Path(str(array.filename)).parents
    np.testing.assert_array_equal(array, np.arange(10))
    assert len(list((shared / "volumes").glob("*.npy"))) == 1
