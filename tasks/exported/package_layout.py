"""Bytes of a model package: an uncompressed zip archive, of which there is exactly one for the same members.

Whoever reads one makes it again of its members and compares. So nothing hides in it: no byte before, between or behind
the members, no second member of the same name, no link, no other date, and no changed byte. Nothing in it is
compressed, so that it cannot unpack to more than its own size.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scansuite.errors import SuiteError
from scansuite.words import number_of

LARGEST = 2**32 - 2**24  # bytes of a file; beyond, the zip format would need its second form
MOST_MEMBERS = 200
ZIP = b"PK\x03\x04"
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_DATE = 0x21  # 1 January 1980, the first day that the format knows: when it was made stands in the description
_UNIX = 3 << 8  # made on Unix: the mode of the file is that of Unix
_MODE = (stat.S_IFREG | 0o644) << 16
_VERSION = 20


def pieces(members: Mapping[str, bytes]) -> Iterator[bytes]:
    """The bytes of a package, piece by piece.

    Ours, because the bytes that ``zipfile`` writes are not promised to stay the same from one Python to the next. Other
    programs open it as any zip archive (PKWARE APPNOTE 6.3).

    Args:
        members: contents by name (ASCII), in order.
    """
    directory, place = [], 0
    for name, content in members.items():
        path = name.encode("ascii")
        # Version, flags, method (stored), time, date, checksum, both sizes, length of the name, further fields.
        fields = (_VERSION, 0, 0, 0, _DATE, zlib.crc32(content), len(content), len(content), len(path), 0)
        head = struct.pack("<4s5H3I2H", ZIP, *fields) + path
        yield head
        yield content
        entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", _UNIX | _VERSION, *fields, 0, 0, 0, _MODE, place)
        directory.append(entry + path)
        place += len(head) + len(content)
    listed = b"".join(directory)
    yield listed
    count = len(directory)
    yield struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(listed), place, 0)


def is_zip(file: Path) -> bool:
    """Whether a file begins as a zip archive does."""
    return _start(file) == ZIP


def refuse_pickle(file: Path) -> None:
    """Refuse what begins as a pickle, whatever its name is: reading one may run code.

    Raises:
        SuiteError: it does.
    """
    if _start(file).startswith(_PICKLES):
        raise SuiteError(
            f"{file}: is a pickle, which may run code when it is opened: give an ONNX file or a model package"
        )


def read_members(file: Path, ours: Sequence[str] = ()) -> dict[str, bytes]:
    """The members of a package by name, in its order.

    Args:
        file: the package.
        ours: members of which each package has one at least.

    Raises:
        SuiteError: it cannot be read, is too large, or is no package that :func:`pieces` has made.
    """
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise SuiteError(f"{file}: has {size} bytes: a model package has at most {LARGEST}")
        content = file.read_bytes()
    except OSError as error:
        raise SuiteError(f"{file}: cannot be read ({error.strerror or error})") from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            listed = archive.infolist()
            _refuse_strange(file, listed, len(content), ours)
            members = {one.filename: archive.read(one) for one in listed}
    except (zipfile.BadZipFile, ValueError, RuntimeError, EOFError, OSError, struct.error, IndexError):
        raise SuiteError(f"{file}: is no whole zip archive: it was changed, or cut off on its way") from None
    place = 0
    for piece in pieces(members):
        if content[place : place + len(piece)] != piece:
            break
        place += len(piece)
    else:
        if place == len(content):
            return members
    raise SuiteError(f"{file}: was changed: its bytes are not those that packing its members gives")


def _start(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(4)
    except OSError as error:
        raise SuiteError(f"{file}: cannot be read ({error.strerror or error})") from None


def _refuse_strange(file: Path, listed: list[zipfile.ZipInfo], size: int, ours: Sequence[str]) -> None:
    """Refuse an archive by what its directory says, before anything of it is unpacked."""
    names = [one.filename for one in listed]
    if any(name.endswith("data.pkl") for name in names):
        raise SuiteError(
            f"{file}: is a checkpoint of torch, with a pickle in it, and no model package: export it: scansuite TASK "
            "export --ckpt_path CKPT"
        )
    if len(names) > MOST_MEMBERS:
        raise SuiteError(f"{file}: has {number_of(len(names), 'member')}: a model package has {MOST_MEMBERS} at most")
    seen: set[str] = set()
    for one in listed:
        name = ascii(one.filename)[1:-1][:80]
        why = ""
        if one.filename in seen:
            why = "is there twice"
        elif one.filename.startswith(("/", "\\")) or ".." in one.filename.split("/") or not one.filename.isascii():
            why = "leads out of the package"
        elif stat.S_ISLNK(one.external_attr >> 16):
            why = "is a link"
        elif one.compress_type != zipfile.ZIP_STORED or one.flag_bits & 1:
            why = "is compressed or encrypted, which nothing in a model package is"
        if why:
            raise SuiteError(f"{file}: member {name} {why}: get the model package from whoever made it")
        seen.add(one.filename)
    if ours and not seen & set(ours):
        raise SuiteError(f"{file}: is a zip archive, but no model package: it has no {ours[0]}")
    if sum(one.file_size for one in listed) > size:
        raise SuiteError(f"{file}: is no model package: it says that its members are larger than itself")
