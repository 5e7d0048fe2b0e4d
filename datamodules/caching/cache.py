"""Decoded volumes as files that are mapped into memory: decoded once, shared by loader processes and ranks."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from datamodules.caching.reading_version import behaviour
from datamodules.caching.scratch import Scratch
from datamodules.readers.hashing import content_hashes
from scansuite.errors import SuiteError
from scansuite.files import lock_if_possible, note_use, replacing

log = logging.getLogger(__name__)

Setting: TypeAlias = str | int | float | bool | tuple[float, ...] | None
_Key = tuple[str, tuple[tuple[str, Setting], ...]]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MOST_OPEN = 256  # a mapped file holds a descriptor, and a process may have 1024 of them


class CacheError(SuiteError):
    """The cache folder is what is wrong, not a file of the data."""


class VolumeCache:
    """Arrays made from files, kept as ``.npy`` and mapped.

    An entry is named by the content of its file (and of what a header points to), by the settings it was made with and
    by how this version of the suite reads files (:mod:`~datamodules.caching.reading_version`), so that a changed file,
    another setting or a mended reader finds no old array. (That a file has changed is seen by its size and time, once
    in each process.) Entries appear whole or not at all; one that is damaged is made again. Processes on one machine
    make an entry one after the other, so that it is decoded once; where the file system has no locks each makes it, and
    the last one stays.

    joblib's ``Memory`` knows the arguments of a call, not what is in the files that they name.

    The first axis should be the one that is cut along: a slice is then one piece of the file.

    Args:
        folder: where the arrays are kept; made where it is missing.
        hashes: SQLite file with the content hashes of files; left out: one in ``folder``.
        scratch: takes copies of the entries that are used, which are read from then on.
    """

    def __init__(self, folder: Path, hashes: Path | None = None, scratch: Scratch | None = None) -> None:
        self.folder, self.hashes, self.scratch = folder, hashes or folder / "hashes.sqlite", scratch
        self._files: dict[_Key, Path] = {}
        self._open: OrderedDict[_Key, np.memmap[Any, Any]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # A mapped array would be pickled with all its values; the other process maps the file itself.
        return {**vars(self), "_open": OrderedDict()}

    def get(self, path: Path, settings: Mapping[str, Setting], make: Callable[[], NDArray[Any]]) -> np.memmap[Any, Any]:
        """The array of a file, mapped read-only.

        Args:
            path: the file that the array is made from.
            settings: everything else that the array depends on.
            make: decodes the file; called where there is no whole entry for it.

        Raises:
            SuiteError: the file cannot be read; whatever ``make`` raises.
            CacheError: the cache folder cannot be written (the disk is full, say).
        """
        key = (str(path), tuple(sorted(settings.items())))
        mapped = self._open.get(key)
        if mapped is not None:
            self._open.move_to_end(key)
            return mapped
        entry = self._files.get(key)
        if entry is None:
            note_use(self.folder)
            entry = self._files[key] = self._entry(path, settings)
        mapped = _map(entry)
        if mapped is None:
            with lock_if_possible(self.folder / ".lock"):
                mapped = _map(entry)  # another process may just have made it
                if mapped is None:
                    _remove_broken(entry)
                    self._write(entry, make(), path)
                    mapped = _map(entry)
        if mapped is None:
            raise CacheError(f"{entry}: cannot be read back: give another folder with --data.cache_dir")
        if self.scratch is not None:
            copied = _map(self.scratch.copy(entry))
            mapped = mapped if copied is None else copied
        self._open[key] = mapped
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return mapped

    def _entry(self, path: Path, settings: Mapping[str, Setting]) -> Path:
        content = content_hashes([path], self.hashes)[0]
        text = json.dumps([behaviour(), settings], sort_keys=True)
        return self.folder / f"{content}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.npy"

    def _write(self, entry: Path, array: NDArray[Any], path: Path) -> None:
        array = np.ascontiguousarray(array)

        def failed(error: OSError) -> CacheError:
            reason = "the disk is full" if error.errno in _NO_ROOM else f"cannot be written ({error.strerror})"
            return CacheError(
                f"{self.folder}: {reason} while {array.nbytes / 2**20:.1f} MiB of {path} are cached: free some space, "
                "or give another folder with --data.cache_dir"
            )

        with replacing(entry, failed=failed, durable=False) as temporary:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                # Not np.save, whose error for a full disk does not say so.
                npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
                file.write(array.data)


def _map(entry: Path) -> np.memmap[Any, Any] | None:
    """The entry mapped, or None where it is missing or not whole."""
    try:
        mapped = np.load(entry, mmap_mode="r")
        whole = isinstance(mapped, np.memmap) and entry.stat().st_size == mapped.offset + mapped.nbytes
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return mapped if whole else None


def _remove_broken(entry: Path) -> None:
    if entry.exists():
        log.warning("%s is damaged and made again", entry)
        with suppress(OSError):
            entry.unlink()
