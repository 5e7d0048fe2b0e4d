"""Zip archives of uploads: unpacked into a folder of their own, within limits, and never beside it."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from datamodules.readers.listing import is_clutter
from scansuite.files import safe_name
from scansuite.words import number_of
from tasks.serving.file_names import free_path
from tasks.serving.refused import RefusedError
from tasks.serving.settings import RequestLimits

_CHUNK = 1 << 20
_END = struct.Struct("<4s4H2LH")  # the end of the list of members; the sixth is its size
_LONGEST_END = _END.size + 65535
_OF_MEMBER = 512  # bytes of a member in the list, with a long name


def is_zip(file: Path) -> bool:
    """Whether a file is a zip archive by its first bytes."""
    with file.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def unzip(file: Path, folder: Path, limits: RequestLimits) -> int:
    """Unpack a zip archive.

    Members keep their names, made safe; links, and what operating systems leave in archives, are passed over. What an
    archive says of its sizes is checked first, and what comes out of it while it does: the two may differ.

    Args:
        file: the archive.
        folder: where to; made here.
        limits: ``max_members`` and ``max_unpacked``.

    Returns:
        How many files were unpacked.

    Raises:
        RefusedError: it is damaged, encrypted, empty, or has too many or too large members.
    """
    try:
        _check_directory(file, limits)
        with zipfile.ZipFile(file) as archive:
            members = [one for one in archive.infolist() if not _is_none(one)]
            if len(members) > limits.max_members:
                many = number_of(len(members), "file")
                raise RefusedError(413, f"the zip has {many}, more than the {limits.max_members} allowed")
            if sum(one.file_size for one in members) > limits.max_unpacked:
                raise _too_large(limits)
            if any(one.flag_bits & 1 for one in members):
                raise RefusedError(422, "the zip is encrypted: unpack it first")
            if not members:
                raise RefusedError(422, "the zip has no files")
            left = limits.max_unpacked
            for one in members:
                left -= _unpack(archive, one, folder, left, limits)
            return len(members)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, ValueError, OSError):
        raise RefusedError(422, "the zip is damaged, or of a kind that cannot be unpacked") from None


def _check_directory(file: Path, limits: RequestLimits) -> None:
    """Refuse an archive whose list of members is too long, before ``zipfile`` makes objects of all of it."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(max(0, size - _LONGEST_END))
        end = stream.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) - place < _END.size:
        raise zipfile.BadZipFile
    listed = _END.unpack_from(end, place)[5]
    if listed > limits.max_members * _OF_MEMBER + _LONGEST_END:
        raise RefusedError(413, f"the zip has more than the {limits.max_members} files allowed")


def _unpack(archive: zipfile.ZipFile, one: zipfile.ZipInfo, folder: Path, left: int, limits: RequestLimits) -> int:
    *folders, last = [part for part in one.filename.replace("\\", "/").split("/") if part.strip(". ")] or ["file"]
    inside = folder.joinpath(*map(safe_name, folders))
    inside.mkdir(parents=True, exist_ok=True)
    target = free_path(inside, last)
    size = 0
    with archive.open(one) as source, target.open("xb") as stream:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > left:
                raise _too_large(limits)
            stream.write(chunk)
    return size


def _is_none(one: zipfile.ZipInfo) -> bool:
    """Whether a member is no file: a folder, a link, or what systems leave in archives."""
    kind = stat.S_IFMT(one.external_attr >> 16)
    clutter = any(is_clutter(part) for part in PurePosixPath(one.filename.replace("\\", "/")).parts)
    return one.is_dir() or clutter or kind not in (0, stat.S_IFREG)


def _too_large(limits: RequestLimits) -> RefusedError:
    return RefusedError(413, f"the zip unpacks to more than the {limits.max_unpacked // 2**20} MiB allowed")
