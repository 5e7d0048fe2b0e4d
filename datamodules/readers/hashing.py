"""Hashes of content, so that one image in two parts of a split is found; kept, so that files are read once."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.itk_header import HEADERS, data_file
from datamodules.readers.listing import paths_below
from datamodules.types import SuiteError

log = logging.getLogger(__name__)

Stamp = tuple[str, int, int]  # absolute path, size in bytes, modification time in ns: what a kept hash is good for

_SCHEMA = "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, hash TEXT)"
_SQLITE_VARIABLES = 500  # below the limit of every build of SQLite (999 in old ones)


def content_hashes(files: Sequence[Path], cache_file: Path | None, workers: int = 4) -> list[str]:
    """Hash of the bytes of each file (BLAKE2b, 128 bit, hexadecimal), or of all its parts (:func:`parts_of`).

    Hashes are kept by absolute path, size and modification time, so a second run reads only what has changed. Several
    processes may use one cache at the same time. A cache that cannot be used costs one warning and nothing else.

    Args:
        files: the files and folders; one that is named several times is read once. The names of a folder's or a
            header's files do not count.
        cache_file: SQLite file for the hashes, made where it is missing (with its folder); None keeps nothing.
        workers: threads that read files.

    Returns:
        One hash for each of ``files``, in their order.

    Raises:
        SuiteError: a file is missing or cannot be read.
    """
    inside = {file: parts for file in set(files) if (parts := parts_of(file)) != [file]}
    if inside:
        flat = [one for file in files for one in inside.get(file, [file])]
        hashes = dict(zip(flat, _of_files(flat, cache_file, workers), strict=True))
        return [_together([hashes[one] for one in inside[file]]) if file in inside else hashes[file] for file in files]
    return _of_files(files, cache_file, workers)


def parts_of(path: Path) -> list[Path]:
    """The files that hold what a path stands for: all in and below a folder, a header and its voxels, or one file."""
    if os.path.isdir(path):  # noqa: PTH112 - as below
        return list(paths_below(path))
    voxels = data_file(path) if path.name.lower().endswith(HEADERS) else None
    return [path] if voxels is None else [path, voxels]


def _of_files(files: Sequence[Path], cache_file: Path | None, workers: int) -> list[str]:
    paths = [os.path.abspath(file) for file in files]  # noqa: PTH100 - 20 times faster than Path.absolute on many files
    with ThreadPoolExecutor(workers) as pool:
        stamps = list(pool.map(_stamp, dict.fromkeys(paths)))
        kept = _look_up(cache_file, stamps) if cache_file is not None else None
        known = kept or {}
        unknown = [stamp for stamp in stamps if stamp not in known]
        fresh = dict(zip(unknown, pool.map(_hash, unknown), strict=True))
    if cache_file is not None and kept is not None and fresh:
        _keep(cache_file, fresh)
    known.update(fresh)
    by_path = {stamp[0]: known[stamp] for stamp in stamps}
    return [by_path[path] for path in paths]


def array_hash(array: NDArray[Any]) -> str:
    """Hash of an array's type, shape and values (BLAKE2b, 128 bit, hexadecimal), for images inside larger files."""
    digest = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _together(hashes: list[str]) -> str:
    return hashlib.blake2b("".join(sorted(hashes)).encode(), digest_size=16).hexdigest()


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116 - see above
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from None
    return path, status.st_size, status.st_mtime_ns


def _hash(stamp: Stamp) -> str:
    try:
        with Path(stamp[0]).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise SuiteError(f"{stamp[0]}: cannot be read: {error.strerror}") from None


def _look_up(cache_file: Path, stamps: Sequence[Stamp]) -> dict[Stamp, str] | None:
    """The kept hashes that still hold; None where the cache cannot be used."""
    if not cache_file.is_file():
        return {}
    try:
        with closing(sqlite3.connect(cache_file, timeout=30)) as database:
            if not database.execute("SELECT name FROM sqlite_master WHERE name = 'hashes'").fetchall():
                return {}  # another process is just making it
            rows = [row for part in _parts(stamps) for row in _select(database, part)]
    except (sqlite3.Error, ValueError) as error:
        log.warning("%s: kept hashes cannot be used (%s); delete the file if this stays", cache_file, error)
        return None
    wanted = set(stamps)
    return {(path, size, time): value for path, size, time, value in rows if (path, size, time) in wanted}


def _parts(stamps: Sequence[Stamp]) -> Iterator[list[str]]:
    for start in range(0, len(stamps), _SQLITE_VARIABLES):
        yield [stamp[0] for stamp in stamps[start : start + _SQLITE_VARIABLES]]


def _select(database: sqlite3.Connection, paths: list[str]) -> list[tuple[str, int, int, str]]:
    places = ",".join("?" * len(paths))
    return database.execute(f"SELECT path, size, mtime_ns, hash FROM hashes WHERE path IN ({places})", paths).fetchall()


def _keep(cache_file: Path, fresh: dict[Stamp, str]) -> None:
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(cache_file, timeout=30)) as database, database:
            database.execute(_SCHEMA)
            rows = [(*stamp, value) for stamp, value in fresh.items()]
            database.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)", rows)
    except (sqlite3.Error, OSError, ValueError) as error:
        log.warning("%s: hashes cannot be kept (%s): the next run reads every file again", cache_file, error)
