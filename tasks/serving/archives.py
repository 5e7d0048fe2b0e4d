"""Zip archives of uploads: unpacked into a folder of their own, within limits, and never beside it."""

from __future__ import annotations

import lzma
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
_END_64 = struct.Struct("<4sQ2H2L4Q")  # the second form of the end, which counts where it is there; the ninth its size
_TO_END_64 = 20  # bytes of what leads to it, between the two
_OF_MEMBER = 512  # bytes of a member in the list, with a long name
_DEEPEST = 32  # folders in one another
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, ValueError, OSError,
    OverflowError, IndexError,
)  # fmt: skip


def is_zip(file: Path) -> bool:
    """Whether a file is a zip archive by its first bytes."""
    with file.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def unzip(file: Path, folder: Path, limits: RequestLimits, files: int = 0, size: int = 0) -> tuple[int, int]:
    """Unpack a zip archive.

    Members keep their names, made safe; links, and what operating systems leave in archives, are passed over. What an
    archive says of its sizes is checked first, and what comes out of it while it does: the two may differ.

    Args:
        file: the archive.
        folder: where to; made here.
        limits: ``max_members`` and ``max_unpacked``, of all archives of a request together.
        files: that were unpacked of it before.
        size: of them, in bytes.

    Returns:
        How many files were unpacked by now, and their bytes.

    Raises:
        RefusedError: it is damaged, encrypted, empty, or has too many or too large members.
    """
    try:
        _check_directory(file, limits)
        with zipfile.ZipFile(file) as archive:
            members = [one for one in archive.infolist() if not _is_none(one)]
            if files + len(members) > limits.max_members:
                many = number_of(files + len(members), "file")
                raise RefusedError(413, f"the zip has {many}, more than the {limits.max_members} allowed")
            if size + sum(one.file_size for one in members) > limits.max_unpacked:
                raise _too_large(limits)
            if any(one.flag_bits & 1 for one in members):
                raise RefusedError(422, "the zip is encrypted: unpack it first")
            if not members:
                raise RefusedError(422, "the zip has no files")
            taken: dict[Path, int] = {}
            for one in members:
                size += _unpack(archive, one, folder, limits.max_unpacked - size, limits, taken)
            return files + len(members), size
    except _DAMAGED:
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
    second = place - _TO_END_64 - _END_64.size
    if second >= 0 and end[second : second + 4] == b"PK\x06\x06":
        listed = max(listed, _END_64.unpack_from(end, second)[8])
    if listed > limits.max_members * _OF_MEMBER + _LONGEST_END:
        raise RefusedError(413, f"the zip has more than the {limits.max_members} files allowed")


def _unpack(
    archive: zipfile.ZipFile,
    one: zipfile.ZipInfo,
    folder: Path,
    left: int,
    limits: RequestLimits,
    taken: dict[Path, int],
) -> int:
    *folders, last = [part for part in one.filename.replace("\\", "/").split("/") if part.strip(". ")] or ["file"]
    if len(folders) > _DEEPEST:  # what lies deeper than Python goes could not be removed again
        raise RefusedError(422, f"the zip has folders more than {_DEEPEST} deep")
    inside = folder.joinpath(*map(safe_name, folders))
    inside.mkdir(parents=True, exist_ok=True)
    target = free_path(inside, last, taken)
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
