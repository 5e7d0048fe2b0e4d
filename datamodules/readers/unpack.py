"""Files as streams, unzipped where they are packed, and stopped where they swell beyond a limit."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from datamodules.readers.limits import Limits
from datamodules.readers.listing import is_clutter

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20


class Unpacked(NamedTuple):
    """A file that is open.

    Attributes:
        name: of the file, without the suffix of the packing; of a zip's member, where there is one.
        stream: its bytes; it can be read and sought.
        packed: whether they were unpacked.
    """

    name: str
    stream: BinaryIO
    packed: bool


@contextmanager
def unpacked(path: Path, limits: Limits, suffixes: tuple[str, ...] = ()) -> Iterator[Unpacked]:
    """Open a file; gzip is told by its first bytes, zip too where ``suffixes`` are given.

    Args:
        path: the file.
        limits: ``max_bytes`` stops unpacking.
        suffixes: of the one member that is taken from a zip.

    Raises:
        ValueError: the zip has none or several of such members; also while reading, where the limit is reached.
        OSError: the file cannot be opened.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        name = path.name
        head = file.read(4)
        file.seek(0)
        stream: BinaryIO = file
        packed = False
        if head == b"PK\x03\x04" and suffixes:
            archive = stack.enter_context(zipfile.ZipFile(file))
            member = _only_member(archive, suffixes)
            limits.check_bytes(member.file_size)
            stream = stack.enter_context(_bounded(stack.enter_context(archive.open(member)), limits))
            name, packed = PurePosixPath(member.filename).name, True
            head = stream.read(4)
            stream.seek(0)
        if head[:2] == b"\x1f\x8b":
            stream = stack.enter_context(_bounded(stack.enter_context(gzip.GzipFile(fileobj=stream)), limits))
            packed = True
            name = name[:-3] if name.lower().endswith(".gz") else name
        yield Unpacked(name, stream, packed)


def read_to_end(stream: BinaryIO) -> None:
    """Read what is left, since the checksums of gzip and zip stand at the end.

    Raises:
        EOFError, OSError, zlib.error, zipfile.BadZipFile: the stream is damaged.
    """
    while stream.read(_CHUNK):
        pass


def read_all(stream: BinaryIO) -> bytes:
    """Read all bytes of a stream of :func:`unpacked`, which stops it where it is too long."""
    return b"".join(iter(lambda: stream.read(_CHUNK), b""))


def _only_member(archive: zipfile.ZipFile, suffixes: tuple[str, ...]) -> zipfile.ZipInfo:
    found = [
        member
        for member in archive.infolist()
        if member.filename.lower().endswith(suffixes) and not any(map(is_clutter, member.filename.split("/")))
    ]
    if len(found) != 1:
        what = f"{len(found)} ({found[0].filename}, {found[1].filename}, ...)" if found else "none"
        raise ValueError(f"a zip must hold one volume ({' '.join(suffixes)}), but this one has {what}")
    if found[0].flag_bits & 1:
        raise ValueError("the zip is encrypted: unpack it first")
    return found[0]


def _bounded(stream: object, limits: Limits) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(_Bounded(cast("BinaryIO", stream), limits), _CHUNK))


class _Bounded(io.RawIOBase):
    """A packed stream that stops where more has come out of it than is allowed. Seeking forward is reading."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream, self._limits, self._place = stream, limits, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        # In pieces: gzip makes a copy of what it is asked for.
        count: int = self._stream.readinto(memoryview(buffer)[:_CHUNK])  # type: ignore[attr-defined]
        self._place += count
        # Headers and trailers come on top of the values that the limit is about.
        if self._place > self._limits.max_bytes + _CHUNK:
            self._limits.check_bytes(self._place)
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a packed stream is known when it is reached")
        target = offset + (self._place if whence == io.SEEK_CUR else 0)
        if target < self._place:
            self._stream.seek(0)
            self._place = 0
        self._limits.check_bytes(target - _CHUNK)
        skipped = bytearray(_CHUNK)
        while self._place < target:
            if not self.readinto(memoryview(skipped)[: min(_CHUNK, target - self._place)]):
                break
        return self._place
