"""Images on disk: filled by one, also where several come at once or one is killed; never half."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datamodules.caching import image_cache as module
from datamodules.caching.cache import CacheError
from datamodules.caching.image_cache import ImageCache, no_room
from datamodules.caching.scratch import Scratch
from datamodules.caching.shards import Row, batch_of, key_numbers

KEYS = [bytes([number]) * 16 for number in range(12)]
NUMBERS = key_numbers(KEYS)
SIDE = 100


def rows(first: int = 0, last: int = 12) -> list[Row]:
    return [
        Row(KEYS[number], [np.full((SIDE, SIDE), number, np.uint16)], {"number": number})
        for number in range(first, last)
    ]


def batches(first: int = 0, last: int = 12) -> Iterator[pa.RecordBatch]:
    for row in rows(first, last):
        yield batch_of([row])


def values(cache: ImageCache) -> list[int | None]:
    found = [None if place < 0 else cache.row(place) for place in cache.find(NUMBERS)]
    return [None if row is None else int(row.arrays[0][-1, -1]) for row in found]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows a shard."""
    monkeypatch.setattr(module, "SHARD_BYTES", 4 * SIDE * SIDE * 2 - 1)


def test_rows_are_found_by_their_keys(small: None, tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "images")
    assert values(cache) == [None] * 12
    cache.write(batches(0, 5), "images", 0)
    cache.write(batches(5, 11), "images", 0)
    assert values(cache) == [*range(11), None]
    assert values(pickle.loads(pickle.dumps(cache))) == [*range(11), None]
    files = sorted(cache.folder.iterdir())
    assert [file.suffix for file in files] == [".arrow"] * 4
    assert cache.size(cache.find(NUMBERS)) == sum(file.stat().st_size for file in files)
    assert cache.size(cache.find(NUMBERS[:1])) < sum(file.stat().st_size for file in files) / 2


def test_a_folder_that_is_only_read_serves(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "images")
    cache.write(batches(), "images", 0)
    cache.folder.chmod(0o500)
    try:
        with cache.lock():
            assert values(ImageCache(cache.folder)) == list(range(12))
        cache.used()
        cache.note("data", "train", 12, {})
    finally:
        cache.folder.chmod(0o700)


@pytest.mark.parametrize("damage", ["truncated", "emptied"])
def test_a_damaged_shard_is_removed_and_said(
    damage: str, small: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ImageCache(tmp_path / "images")
    cache.write(batches(), "images", 0)
    file = next(one for one in cache.folder.iterdir())
    file.write_bytes(file.read_bytes()[:-9] if damage == "truncated" else b"")
    found = values(cache)
    assert found.count(None) == 4
    assert all(value in (None, number) for number, value in enumerate(found))
    assert [record.message for record in caplog.records if "damaged" in record.message]
    assert not file.exists()


def test_a_shard_that_goes_away_is_no_error(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "images")
    cache.write(batches(), "images", 0)
    places = cache.find(NUMBERS)
    other = pickle.loads(pickle.dumps(cache))  # as in a loader's process, which has mapped nothing yet
    for file in cache.folder.iterdir():
        file.unlink()
    assert other.row(places[0]) is None
    row = cache.row(places[3])
    assert row is not None
    assert row.facts == {"number": 3}


def fill_slowly(folder: Path, started: Any) -> None:
    module.SHARD_BYTES = 4 * SIDE * SIDE * 2 - 1

    def slow() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(batches()):
            if number == 6:
                started.set()
                time.sleep(60)
            yield batch

    cache = ImageCache(folder)
    with cache.lock():
        cache.write(slow(), "images", 0)


def test_what_a_killed_process_finished_is_kept_and_the_rest_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=fill_slowly, args=(folder, started))
    process.start()
    assert started.wait(20)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    left = list(folder.glob(".*.tmp"))
    assert len(left) == 1
    cache = ImageCache(folder)
    assert values(cache) == [0, 1, 2, 3] + [None] * 8
    with cache.lock():  # nobody holds it any more
        cache.write(batches(4), "images", 0)
    assert values(cache) == list(range(12))
    assert list(folder.glob(".*.tmp")) == left, "somebody may be writing this"
    os.utime(left[0], (1, 1))
    cache.write(iter(()), "images", 0)
    assert not list(folder.glob(".*.tmp"))


def fill_where_missing(folder: Path, started: Any, results: Any) -> None:
    cache = ImageCache(folder)
    started.wait(20)
    with cache.lock():
        missing = int((cache.find(NUMBERS) < 0).sum())
        if missing:
            time.sleep(0.2)
            cache.write(batches(), "images", 0)
    results.put((missing, values(cache)))


@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_at_once(locks: bool, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    if not locks:
        (folder / ".lock").mkdir(parents=True)  # cannot be opened, as where the file system knows no locks
    context = multiprocessing.get_context("fork")
    started, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=fill_where_missing, args=(folder, started, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=20) for _ in processes]
    for process in processes:
        process.join(20)
    assert [everything for _, everything in found] == [list(range(12))] * 2
    assert sorted(missing for missing, _ in found) == ([0, 12] if locks else [12, 12])
    assert len(list(folder.glob("*.arrow"))) == (1 if locks else 2)
    assert not list(folder.glob(".*.tmp"))


def fill_up(folder: Path, results: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    module.SHARD_BYTES = 4 * SIDE * SIDE * 2 - 1
    large = batch_of([Row(bytes(16), [np.zeros((SIDE * 4, SIDE, SIDE), np.uint16)], {})])
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    try:
        ImageCache(folder).write(iter([*batches(), large]), "13 images of train", 5 * 2**30)
    except CacheError as error:
        results.put(str(error))


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=fill_up, args=(folder, results))
    process.start()
    message = results.get(timeout=20)
    process.join(20)
    assert message.startswith(f"{folder}: the disk is full: 13 images of train need about 5.0 GiB, ")
    assert "--data.cache_dir" in message
    assert "\n" not in message
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(CacheError, match=r"taken/images: cannot be written \(Not a directory\).*--data\.cache_dir"):
        ImageCache(tmp_path / "taken" / "images").write(batches(), "images", 0)
    assert "GiB are free" in str(no_room(tmp_path / "taken" / "images", "images", 1))


def test_what_is_kept_is_noted_and_its_time_is_that_of_the_last_use(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "images")
    cache.write(batches(), "images", 0)
    cache.note("root data", "train", 8, {"preprocess": {"size": [4, 4]}})
    cache.note("root data", "val", 4, {"preprocess": {"size": [4, 4]}})
    cache.note("root other", "train", 1, {"preprocess": {"size": [4, 4]}})
    file = cache.folder / "about.json"
    about = json.loads(file.read_text())
    assert about["bytes"] == sum(one.stat().st_size for one in cache.folder.glob("*.arrow"))
    assert about["data"]["root data"].items() >= {"train": 8, "val": 4}.items()
    assert about["data"]["root other"]["train"] == 1
    assert {"version", "settings", "what"} <= set(about)
    os.utime(file, (1, 1))
    cache.used()
    assert time.time() - file.stat().st_mtime < 60


def test_rows_are_read_from_scratch_and_from_the_shared_folder_when_that_goes(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    cache = ImageCache(shared / "images")
    cache.write(batches(), "images", 0)
    places = cache.find(NUMBERS)
    cache.use(places, Scratch(str(tmp_path / "scratch"), shared, keep=True))
    copies = list((tmp_path / "scratch").rglob("*.arrow"))
    assert [one.name for one in copies] == [one.name for one in cache.folder.glob("*.arrow")]
    other = pickle.loads(pickle.dumps(cache))
    for file in cache.folder.glob("*.arrow"):
        file.rename(file.with_suffix(".away"))
    row = cache.row(places[5])
    assert row is not None
    assert row.facts == {"number": 5}
    for file in cache.folder.glob("*.away"):
        file.rename(file.with_suffix(".arrow"))
    for file in copies:
        file.unlink()
    row = other.row(places[5])
    assert row is not None
    assert row.facts == {"number": 5}


def private_memory(folder: Path, started: Any, results: Any) -> None:
    cache = ImageCache(folder)
    places = cache.find(NUMBERS)
    started.wait(30)
    before = _private()
    total = 0
    for place in places:
        row = cache.row(place)
        assert row is not None
        total += int(row.arrays[0].sum())
    results.put((_private() - before, total))


def _private() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not say who shares memory")
def test_processes_share_the_pages_of_a_cache(tmp_path: Path) -> None:
    """Two that read 48 MiB while both are alive take next to nothing of their own."""
    folder = tmp_path / "images"
    large = [Row(key, [np.full((2048, 1024), number, np.uint16)], {}) for number, key in enumerate(KEYS)]
    ImageCache(folder).write((batch_of([row]) for row in large), "images", 0)
    context = multiprocessing.get_context("fork")
    started, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=private_memory, args=(folder, started, results)) for _ in range(2)]
    for process in processes:
        process.start()
    # This process maps the pages too, so that they are nobody's own at any moment.
    cache = ImageCache(folder)
    held = [cache.row(place) for place in cache.find(NUMBERS)]
    assert sum(int(row.arrays[0][::1024, ::512].sum()) for row in held if row is not None) > 0
    pages = [np.array(row.arrays[0].reshape(-1)[::2048]) for row in held if row is not None]
    started.wait(30)
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(20)
    assert len(pages) == 12
    assert [total for _, total in found] == [sum(range(12)) * 2048 * 1024] * 2
    assert max(more for more, _ in found) < 12 * 2**20
