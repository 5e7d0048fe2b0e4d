"""Hashes of files and of what they hold; those of files are kept, so that they are read once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.itk_header import HEADERS, data_file
from datamodules.readers.kept import Kept
from datamodules.readers.listing import paths_below
from datamodules.readers.volume import Volume, to_slices
from scansuite.errors import SuiteError

Stamp = tuple[str, int, int]  # absolute path, size in bytes, modification time in ns: what a kept hash is good for


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
    kept = Kept(cache_file, "hashes")
    with ThreadPoolExecutor(workers) as pool:
        stamps = list(pool.map(_stamp, dict.fromkeys(paths)))
        texts = {path: f"{size} {time}" for path, size, time in stamps}
        known = kept.look_up(texts)
        unknown = [stamp for stamp in stamps if stamp[0] not in known]
        fresh = dict(zip((stamp[0] for stamp in unknown), pool.map(_hash, unknown), strict=True))
    kept.keep([(path, texts[path], value) for path, value in fresh.items()])
    known.update(fresh)
    return [known[path] for path in paths]


def array_hash(array: NDArray[Any]) -> str:
    """Hash of an array's type, shape and values (BLAKE2b, 128 bit, hexadecimal).

    The order of the bytes in a number and of the numbers in memory do not count.
    """
    kind = array.dtype.newbyteorder("<")
    digest = hashlib.blake2b(f"{kind.str}{array.shape}".encode(), digest_size=16)
    # A large array that lies in another order is copied piece by piece.
    for piece in [array] if array.flags.c_contiguous or array.ndim < 2 else array:
        digest.update(np.ascontiguousarray(piece, kind).data)
    return digest.hexdigest()


def volume_hash(volume: Volume) -> str:
    """Hash of a volume's voxels as axial slices: how its axes are stored, and where it lies, does not count."""
    return array_hash(to_slices(volume.array, volume.affine, "axial"))


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
