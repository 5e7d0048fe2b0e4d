"""Decoded, resized images as rows of a few mapped files: made once, shared by loader processes, ranks and runs."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datamodules.caching.cache import CacheError
from datamodules.caching.scratch import Scratch
from datamodules.caching.shards import NotWholeError, Row, Shard, write_shard
from scansuite.files import lock_if_possible, note_use, replacing
from scansuite.version import __version__

log = logging.getLogger(__name__)

SHARD_BYTES = (
    256 * 2**20
)  # of a file: what a killed run may have to do again, and few enough files for a million images
ABOUT = "about.json"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ROW_BITS = 32  # of a place: the rest is the number of the shard
_STALE = 3600.0  # seconds: a file that is being written is younger


class ImageCache:
    """A folder of shards with the images of all data sets that are read and preprocessed in one way.

    Rows are named by the content of their files, so that a changed file finds no old row, and the parts and folds of a
    data set share theirs. A shard appears whole or not at all, under a name that nobody else chooses: processes that
    fill the folder at the same time (where there are no locks) do work twice and no worse. A killed run goes on with
    the shards that were finished.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[Path] = []
        self._local: dict[Path, Path] = {}
        self._open: dict[int, Shard | None] = {}
        self._damaged: set[Path] = set()

    @classmethod
    def in_use(cls, parent: Path, settings: Mapping[str, object]) -> ImageCache:
        """The cache of all rows that are made with the same settings, held until the process ends.

        Args:
            parent: folder of all caches of its kind.
            settings: in plain types; a digest of them is the folder's name.
        """
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=10).hexdigest()
        note_use(parent / digest)
        return cls(parent / digest)

    def filled(
        self, keys: NDArray[np.uint64], fill: Callable[[NDArray[np.int64]], None]
    ) -> tuple[NDArray[np.int64], int]:
        """(N,) places of rows, of which those that are missing are made first, and how many these were.

        Ranks and runs that come here together make them once: the first does, the others wait for its lock.

        Args:
            keys: (N, 2), see :meth:`find`.
            fill: is given the numbers of the keys whose rows are to be written, of equal ones the first.
        """
        places, fresh = self.find(keys), 0
        if (places < 0).any():
            with self.lock():
                places = self.find(keys)  # another process may just have filled it
                missing = _first_of_each(keys, np.flatnonzero(places < 0))
                fresh = len(missing)
                if fresh:
                    fill(missing)
                    places = self.find(keys)
        self.used()
        return places, fresh

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the files itself.
        return {**vars(self), "_open": {}}

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(N,) places of rows, -1 where there is none.

        Args:
            keys: (N, 2), see :func:`~datamodules.caching.shards.key_numbers`.
        """
        self._files, self._open, found = [], {}, [np.zeros((0, 2), np.uint64)]
        for file in sorted(self.folder.glob("*.arrow")):
            shard = self._mapped(file)
            if shard is not None:
                self._open[len(self._files)] = shard
                self._files.append(file)
                found.append(shard.keys())
        there = np.concatenate(found)
        if not len(there):
            return np.full(len(keys), -1, np.int64)
        numbers = np.concatenate([np.arange(len(some)) + (shard << _ROW_BITS) for shard, some in enumerate(found[1:])])
        # By the first half of a key; that two begin alike and end differently is as good as impossible, and looked at.
        order = np.argsort(there[:, 0], kind="stable")
        near = np.searchsorted(there[order, 0], keys[:, 0]).clip(max=len(there) - 1)
        places: NDArray[np.int64] = numbers[order][near]
        places[(there[order][near] != keys).any(axis=1)] = -1
        return places

    def _mapped(self, file: Path) -> Shard | None:
        try:
            return Shard(file)
        except OSError:
            return None
        except NotWholeError as error:
            if file not in self._damaged:
                log.warning("%s is damaged, and its images are read again (%s)", file, error)
                self._damaged.add(file)
            with suppress(OSError):
                file.unlink()
            return None

    def row(self, place: int) -> Row | None:
        """The row at a place; None where its file has gone, or is damaged."""
        number = int(place) >> _ROW_BITS
        if number not in self._open:
            file = self._files[number]
            local = self._local.get(file)
            shard = None if local is None else self._mapped(local)
            self._open[number] = shard if shard is not None else self._mapped(file)
        shard = self._open[number]
        if shard is None:
            return None
        try:
            return shard.row(int(place) & (2**_ROW_BITS - 1))
        except (NotWholeError, IndexError) as error:
            log.warning("%s is damaged, and its images are read from their files (%s)", self._files[number], error)
            self._open[number] = None
            return None

    def size(self, places: NDArray[np.int64]) -> int:
        """Bytes of the files in which the rows at some places lie."""
        return sum(self._files[number].stat().st_size for number in self._shards(places))

    def use(self, places: NDArray[np.int64], scratch: Scratch) -> None:
        """Read the rows at some places from a folder of this machine."""
        files = [self._files[number] for number in self._shards(places)]
        self._local = dict(zip(files, scratch.copies(files), strict=True))
        self._open = {}

    def _shards(self, places: NDArray[np.int64]) -> list[int]:
        shards: list[int] = np.unique(places[places >= 0] >> _ROW_BITS).tolist()
        return shards

    def lock(self) -> AbstractContextManager[None]:
        """A lock while the folder is filled; see :func:`~scansuite.files.lock_if_possible`."""
        return lock_if_possible(self.folder / ".lock")

    def room(self) -> int | None:
        """Bytes that are free where the folder is, or None where the system does not say."""
        return free_space(self.folder)

    def write(self, batches: Iterator[pa.RecordBatch], what: str, needed: int) -> None:
        """Write rows, shard by shard.

        Where there is no room for all, those of this call are removed again: a full disk would stop others too.

        Args:
            batches: see :func:`~datamodules.caching.shards.batch_of`.
            what: they are of, for messages.
            needed: about how many bytes they have.

        Raises:
            CacheError: the folder cannot be written.
        """
        done: list[Path] = []

        def failed(error: OSError) -> CacheError:
            if error.errno in _NO_ROOM:
                for file in done:
                    with suppress(OSError):
                        file.unlink()
                return no_room(self.folder, what, needed)
            return CacheError(
                f"{self.folder}: cannot be written ({error.strerror or error}): give another folder with "
                "--data.cache_dir, or --data.cache none"
            )

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failed(error) from None
        self._clear()
        for first in batches:
            file = self.folder / f"{secrets.token_hex(8)}.arrow"
            with replacing(file, failed=failed) as temporary:
                write_shard(temporary, _as_many_as_fit(first, batches))
            done.append(file)

    def _clear(self) -> None:
        """Remove what killed processes have left of files."""
        for file in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > _STALE:
                    file.unlink()

    def note(
        self, data_set: str, part: str, images: int, settings: dict[str, Any], what: str = "decoded images"
    ) -> None:
        """Write down what is kept here, for people and for what deletes caches.

        Args:
            data_set: whose images they are.
            part: of it.
            images: how many of them.
            settings: that all of them were made with.
            what: is kept of each.
        """
        about = self.folder / ABOUT
        noted: Any = None
        with suppress(OSError, ValueError):
            noted = json.loads(about.read_text(encoding="utf-8"))
        sets = noted["data"] if isinstance(noted, dict) and isinstance(noted.get("data"), dict) else {}
        parts = sets.get(data_set)
        sets[data_set] = {
            **(parts if isinstance(parts, dict) else {}),
            part: images,
            "filled": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        text = {
            "what": f"{what}, made by scansuite; may be deleted when no run uses them",
            "used": "the time of this file is that of the last use",
            "version": __version__,
            "bytes": sum(file.stat().st_size for file in self.folder.glob("*.arrow")),
            "data": sets,
            "settings": settings,
        }
        with suppress(CacheError), replacing(about, failed=lambda error: CacheError(str(error)), durable=False) as new:
            new.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")

    def used(self) -> None:
        """Note that it is in use now."""
        with suppress(OSError):  # a folder that is only read
            os.utime(self.folder / ABOUT)


def _as_many_as_fit(first: pa.RecordBatch, more: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    size = first.nbytes
    yield first
    while size < SHARD_BYTES and (batch := next(more, None)) is not None:
        size += batch.nbytes
        yield batch


def no_room(folder: Path, what: str, needed: int) -> CacheError:
    """What is said where a cache does not fit on its disk."""
    free = free_space(folder)
    return CacheError(
        f"{folder}: the disk is full: {what} need about {in_words(needed)}"
        + ("" if free is None else f", {in_words(free)} are free")
        + ": free some space, give another folder with --data.cache_dir, or --data.cache none"
    )


def free_space(folder: Path) -> int | None:
    """Bytes that are free on the disk of a folder, which need not be there yet."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def in_words(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _first_of_each(keys: NDArray[np.uint64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the wanted ones that have the same key the first, in their order."""
    _, first = np.unique(keys[wanted], axis=0, return_index=True)
    return wanted[np.sort(first)]
