"""Hashes of content: right, kept, and never in the way."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.readers import hashing
from datamodules.readers.hashing import array_hash, content_hashes
from scansuite.errors import SuiteError


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "data").mkdir()
    files = [tmp_path / "data" / f"{number}.png" for number in range(1200)]
    for number, file in enumerate(files):
        file.write_bytes(b"%d" % (number % 1000))
    return files


def refuse_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_again(stamp: hashing.Stamp) -> str:
        raise AssertionError(f"{stamp[0]} was read again")

    monkeypatch.setattr(hashing, "_hash", read_again)


def test_equals_hashlib_in_the_order_asked_for(files: list[Path]) -> None:
    hashes = content_hashes(files, None)
    assert hashes == [hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest() for file in files]
    assert hashes[0] == hashes[1000]
    assert len(set(hashes)) == 1000


def test_a_file_named_twice_is_read_once(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[hashing.Stamp] = []

    def counted(stamp: hashing.Stamp) -> str:
        read.append(stamp)
        return f"hash {len(read)}"

    monkeypatch.setattr(hashing, "_hash", counted)
    assert content_hashes([files[0]] * 50, None) == ["hash 1"] * 50


def test_a_second_run_reads_nothing(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "new" / "cache" / "hashes.sqlite"
    first = content_hashes(files, cache)
    refuse_reading(monkeypatch)
    assert content_hashes(files, cache) == first
    monkeypatch.chdir(files[0].parent)
    assert content_hashes([Path(file.name) for file in reversed(files)], cache) == first[::-1]


def test_a_changed_file_is_read_again(files: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "hashes.sqlite"
    first = content_hashes(files[:3], cache)
    files[0].write_bytes(b"longer")
    status = files[1].stat()
    files[1].write_bytes(b"x")  # the same size
    os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    second = content_hashes(files[:3], cache)
    assert [one == two for one, two in zip(first, second, strict=True)] == [False, False, True]
    assert second == content_hashes(files[:3], None)
    assert second == content_hashes(files[:3], cache)


def test_an_unusable_cache_costs_one_warning(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    want = content_hashes(files[:5], None)
    (tmp_path / "file").touch()
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"no data base at all" * 100)
    for cache in (tmp_path / "file" / "hashes.sqlite", tmp_path / "data", damaged):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert content_hashes(files[:5], cache) == want
        assert len(caplog.messages) == 1, cache
        assert str(cache) in caplog.messages[0]
    assert damaged.read_bytes().startswith(b"no data base")


def test_two_processes_share_a_cache(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "hashes.sqlite"
    code = (
        "import sys, pathlib as p; from datamodules.readers.hashing import content_hashes;"
        "print(*content_hashes(sorted(p.Path(sys.argv[1]).iterdir()), p.Path(sys.argv[2])), sep='\\n')"
    )
    command = [sys.executable, "-c", code, str(files[0].parent), str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    want = content_hashes(sorted(files), None)
    for process in running:
        out, err = process.communicate(timeout=60)
        assert out.split() == want
        assert err == ""
    refuse_reading(monkeypatch)
    assert content_hashes(sorted(files), cache) == want


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"none\.png: cannot be read: No such file"):
        content_hashes([tmp_path / "none.png"], None)


def test_array_hash_sees_type_shape_and_values() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert array_hash(array) == array_hash(np.asfortranarray(array)) == array_hash(array[::-1][::-1])
    others: list[NDArray[Any]] = [
        array.reshape(4, 3),
        array.T,
        array.astype(np.uint16),
        array + np.uint8(1),
        array[:, ::-1],
    ]
    assert len({array_hash(one) for one in [array, *others]}) == 6
