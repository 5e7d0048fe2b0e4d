"""The ways in which the fuzzer damages a file."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from tests.datamodules.readers.fuzz_seeds import DEPTH, HEIGHT, WIDTH, Seed

_TEXT = {"table", "coco", "voc", "yolo", "yolo_yaml", "description"}
_GIANT_NUMBERS = (0, 1, 255, 32767, 65500, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_GIANT_WORDS = (
    "0", "-1", "99999999999", "1e309", "nan", "-inf", "0.0", "1" * 400, "true", "null", '""', "[]",
    "../../../etc/passwd", "/etc/passwd", "a\\u0000b", "[" * 3000, "{" * 3000, "x" * 5000, "\x00", "\ud7ff", "'",
    "&lol;", "<![CDATA[", "1,2,3",
)  # fmt: skip


def damage(seed: Seed, seeds: list[Seed], rng: np.random.Generator) -> bytes:
    """A damaged copy of a file. What is packed is damaged inside, and packed again, half of the time."""
    inside = rng.random() < 0.5
    if inside and seed.suffix.endswith(".gz"):
        return gzip.compress(_damaged(gzip.decompress(seed.data), seed, seeds, rng), 1, mtime=0)
    if inside and seed.suffix in (".zip", ".npz"):
        return _damaged_member(seed, seeds, rng)
    return _damaged(seed.data, seed, seeds, rng)


def _damaged(data: bytes, seed: Seed, seeds: list[Seed], rng: np.random.Generator) -> bytes:
    ways: list[Callable[[bytearray], bytearray]] = [
        lambda one: _flip(one, rng), lambda one: _flip(one, rng, 512), lambda one: _overwrite(one, rng),
        lambda one: _cut(one, rng), lambda one: _remove(one, rng), lambda one: _insert(one, rng),
        lambda one: _swap_header(one, seeds, rng), lambda one: _giant_number(one, rng),
        lambda one: _giant_sides(one, rng), lambda one: _giant_sides(one, rng),
    ]  # fmt: skip
    if seed.target in _TEXT or seed.format in ("NRRD", "MHA"):
        ways += [lambda one: _words(one, rng)] * 6
    found = bytearray(data)
    for _ in range(int(rng.choice((1, 1, 1, 2, 3)))):
        if found:
            found = ways[int(rng.integers(len(ways)))](found)
    if found[:4] == b"\x89PNG" and rng.random() < 0.7:
        found = _with_checksums(found)
    return bytes(found)


def _damaged_member(seed: Seed, seeds: list[Seed], rng: np.random.Generator) -> bytes:
    """A zip in which one member is damaged."""
    with zipfile.ZipFile(io.BytesIO(seed.data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = list(members)[int(rng.integers(len(members)))]
    members[chosen] = _damaged(members[chosen], seed, seeds, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _place(data: bytearray, rng: np.random.Generator, most: int | None = None) -> int:
    return int(rng.integers(min(len(data), most or len(data))))


def _flip(data: bytearray, rng: np.random.Generator, most: int | None = None) -> bytearray:
    for _ in range(int(rng.integers(1, 9))):
        data[_place(data, rng, most)] ^= 1 << int(rng.integers(8))
    return data


def _overwrite(data: bytearray, rng: np.random.Generator) -> bytearray:
    place, count = _place(data, rng), int(rng.integers(1, 64))
    fill = bytes(count) if rng.random() < 0.3 else b"\xff" * count if rng.random() < 0.4 else rng.bytes(count)
    data[place : place + count] = fill[: len(data) - place]
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: _place(data, rng, None if rng.random() < 0.7 else 600)]


def _remove(data: bytearray, rng: np.random.Generator) -> bytearray:
    place = _place(data, rng)
    del data[place : place + int(rng.integers(1, 200))]
    return data


def _insert(data: bytearray, rng: np.random.Generator) -> bytearray:
    place, source, count = _place(data, rng), _place(data, rng), int(rng.integers(1, 200))
    data[place:place] = data[source : source + count] if rng.random() < 0.5 else rng.bytes(count)
    return data


def _swap_header(data: bytearray, seeds: list[Seed], rng: np.random.Generator) -> bytearray:
    other = seeds[int(rng.integers(len(seeds)))].data
    count = int(rng.choice((4, 8, 16, 132, 348, 600)))
    data[:count] = other[:count]
    return data


def _giant_number(data: bytearray, rng: np.random.Generator) -> bytearray:
    """An extreme number in the header, in any width and order."""
    size = int(rng.choice((1, 2, 4, 8)))
    value = _GIANT_NUMBERS[int(rng.integers(len(_GIANT_NUMBERS)))] % 2 ** (8 * size)
    place = _place(data, rng, 700)
    data[place : place + size] = value.to_bytes(size, "big" if rng.random() < 0.5 else "little")
    return data


def _giant_sides(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Where the file's own sides stand in its header, others."""
    text = bytes(data[:4096])
    for side in (HEIGHT, WIDTH, DEPTH):
        if rng.random() < 0.3:
            continue
        value = int(_GIANT_NUMBERS[int(rng.integers(3, len(_GIANT_NUMBERS)))])
        for form, most in (("<H", 2**16), (">H", 2**16), ("<I", 2**32), (">I", 2**32), ("<q", 2**63)):
            if struct.pack(form, side) in text and rng.random() < 0.7:
                text = text.replace(struct.pack(form, side), struct.pack(form, min(value, most - 1)), 2)
                break
        else:
            text = re.sub(rb"\b%d\b" % side, str(value).encode(), text, count=2)
    return bytearray(text) + data[4096:]


def _words(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Some number or word replaced by what does not belong there."""
    head, rest = bytes(data[:20_000]), bytes(data[20_000:])
    found = list(re.finditer(rb"[\w.+-]+", head[:2000]))
    for match in sorted((found[int(number)] for number in rng.integers(len(found), size=2)) if found else ()
                        , key=lambda one: one.start(), reverse=True):  # fmt: skip
        word = _GIANT_WORDS[int(rng.integers(len(_GIANT_WORDS)))].encode("utf-8", "surrogatepass")
        head = head[: match.start()] + word + head[match.end() :]
    return bytearray(head + rest)


def _with_checksums(data: bytearray) -> bytearray:
    """A PNG whose chunks have the right sums, so that the decoder goes on."""
    place = 8
    with suppress(struct.error):
        while place + 12 <= len(data):
            (count,) = struct.unpack_from(">I", data, place)
            end = place + 8 + count
            struct.pack_into(">I", data, end, zlib.crc32(data[place + 4 : end]))
            place = end + 4
    return data
