"""Decoded volumes on disk: made once, whole or not at all, never stale."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.caching import cache as module
from datamodules.caching.cache import VolumeCache
from scansuite.errors import SuiteError


class Decoder:
    """Makes an array from a file, and counts how often."""

    def __init__(self, file: Path, value: int = 0) -> None:
        self.file, self.value, self.calls = file, value, 0

    def __call__(self) -> NDArray[np.int16]:
        self.calls += 1
        return np.frombuffer(self.file.read_bytes(), np.int16).reshape(4, 5, 6) + np.int16(self.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.raw"
    path.write_bytes(np.arange(120, dtype=np.int16).tobytes())
    return path


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


def test_a_file_is_decoded_once(file: Path, tmp_path: Path) -> None:
    decode = Decoder(file)
    folder = tmp_path / "cache"
    first = VolumeCache(folder)
    mapped = first.get(file, {"plane": "axial"}, decode)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, np.arange(120).reshape(4, 5, 6))
    assert first.get(file, {"plane": "axial"}, decode) is mapped
    np.testing.assert_array_equal(VolumeCache(folder).get(file, {"plane": "axial"}, decode), mapped)
    assert decode.calls == 1
    assert len(entries(folder)) == 1


def test_the_same_content_elsewhere_is_the_same_entry(file: Path, tmp_path: Path) -> None:
    decode, cache = Decoder(file), VolumeCache(tmp_path / "cache")
    copy = tmp_path / "copy.raw"
    copy.write_bytes(file.read_bytes())
    cache.get(file, {}, decode)
    cache.get(copy, {}, decode)
    assert decode.calls == 1


def test_settings_have_entries_of_their_own(file: Path, tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache")
    decoders = [Decoder(file, value) for value in range(4)]
    settings: list[dict[str, Any]] = [
        {"plane": "axial", "spacing": None},
        {"plane": "coronal", "spacing": None},
        {"plane": "axial", "spacing": (1.0, 1.0)},
        {"plane": "axial", "spacing": (1.0, 2.0)},
    ]
    for _ in range(2):
        for value, (setting, decode) in enumerate(zip(settings, decoders, strict=True)):
            assert cache.get(file, setting, decode)[0, 0, 0] == value
    assert [decode.calls for decode in decoders] == [1, 1, 1, 1]
    assert cache.get(file, {"spacing": None, "plane": "axial"}, decoders[3])[0, 0, 0] == 0


def test_a_changed_file_is_noticed(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    VolumeCache(folder).get(file, {}, Decoder(file))
    file.write_bytes(np.arange(120, dtype=np.int16)[::-1].tobytes())
    os.utime(file, ns=(1, 1))  # older than before, as a copied file may be
    assert VolumeCache(folder).get(file, {}, Decoder(file))[0, 0, 0] == 119


@pytest.mark.parametrize("damage", ["truncated", "longer", "empty", "header", "text", "folder_gone"])
def test_a_broken_entry_is_made_again(
    damage: str, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    want = np.array(VolumeCache(folder).get(file, {}, Decoder(file)))
    [entry] = entries(folder)
    data = entry.read_bytes()
    if damage == "folder_gone":
        entry.unlink()
    else:
        broken = {"truncated": data[:-7], "longer": data + b"7", "empty": b"", "header": b"\0" * 40 + data[40:]}
        entry.write_bytes(broken.get(damage, b"no array"))
    decode = Decoder(file)
    np.testing.assert_array_equal(VolumeCache(folder).get(file, {}, decode), want)
    assert (decode.calls, entry.read_bytes()) == (1, data)
    assert ("damaged and made again" in caplog.text) == (damage != "folder_gone")


def build(file: Path, folder: Path, started: Any, results: Any) -> None:
    decode = Decoder(file)

    def slowly() -> NDArray[np.int16]:
        time.sleep(0.2)
        return decode()

    started.wait(20)
    total = int(VolumeCache(folder).get(file, {}, slowly).sum())
    results.put((decode.calls, total))


@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_at_once(locks: bool, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    if not locks:
        (folder / ".lock").mkdir(parents=True)  # cannot be opened, as where the file system knows no locks
    context = multiprocessing.get_context("fork")
    started, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=build, args=(file, folder, started, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=20) for _ in processes]
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [total for _, total in found] == [sum(range(120))] * 2
    assert sum(calls for calls, _ in found) == (1 if locks else 2)
    assert len(entries(folder)) == 1
    assert not list(folder.glob("*.tmp"))


def fill_up(file: Path, folder: Path, results: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    cache = VolumeCache(folder)
    cache.get(file, {"size": "small"}, Decoder(file))
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        cache.get(file, {"size": "large"}, lambda: np.zeros((100, 100, 100), np.float32))
    except SuiteError as error:
        results.put(str(error))


def test_a_full_disk_is_said_and_leaves_nothing_half_written(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=fill_up, args=(file, folder, results))
    process.start()
    message = results.get(timeout=20)
    process.join(20)
    assert message.startswith(f"{folder}: the disk is full while 3.8 MiB of {file} are cached")
    assert "--data.cache_dir" in message
    assert "\n" not in message
    assert len(entries(folder)) == 1
    assert not list(folder.glob(".*.tmp"))


def test_a_folder_that_cannot_be_made_is_said(file: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SuiteError, match=r"taken/cache: cannot be written \(Not a directory\).*--data\.cache_dir"):
        VolumeCache(tmp_path / "taken" / "cache").get(file, {}, Decoder(file))


def test_errors_of_the_decoder_pass_through_and_leave_nothing(file: Path, tmp_path: Path) -> None:
    def fail() -> NDArray[Any]:
        raise SuiteError(f"{file}: truncated")

    with pytest.raises(SuiteError, match="truncated"):
        VolumeCache(tmp_path / "cache").get(file, {}, fail)
    assert not entries(tmp_path / "cache")
    with pytest.raises(SuiteError, match=r"none\.raw: cannot be read: No such file"):
        VolumeCache(tmp_path / "cache").get(tmp_path / "none.raw", {}, fail)


def test_only_so_many_files_stay_open(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_OPEN", 3)
    cache, decode = VolumeCache(tmp_path / "cache"), Decoder(file)
    for number in (0, 1, 2, 3, 4, 0, 1, 2, 3, 4):
        np.testing.assert_array_equal(cache.get(file, {"number": number}, decode), decode())
        assert len(cache._open) <= 3
    assert len(entries(tmp_path / "cache")) == 5


def test_a_pickled_cache_carries_no_arrays(file: Path, tmp_path: Path) -> None:
    cache = VolumeCache(tmp_path / "cache")
    decode = Decoder(file)
    want = cache.get(file, {}, decode)
    data = pickle.dumps(cache)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).get(file, {}, decode), want)
    assert decode.calls == 1


def test_a_slice_is_taken_from_the_mapped_file(file: Path, tmp_path: Path) -> None:
    """Nothing is decoded, read or opened again: the array that was mapped first is handed out."""
    cache = VolumeCache(tmp_path / "cache")
    decode = Decoder(file)
    first = cache.get(file, {"plane": "axial", "spacing": None}, decode)
    assert isinstance(first, np.memmap)
    assert all(cache.get(file, {"spacing": None, "plane": "axial"}, decode) is first for _ in range(40))
    assert decode.calls == 1
