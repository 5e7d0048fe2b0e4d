"""Text headers of NRRD and MetaImage, checked before a decoder believes them.

Formats: https://teem.sourceforge.net/nrrd/format.html and https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from datamodules.readers.grid import check_volume
from datamodules.readers.limits import Limits

HEADERS = (".nrrd", ".nhdr", ".mha", ".mhd")  # any of them may leave the voxels to a file beside it

_LONGEST_HEADER = 2**18
_LONGEST_LINE = 2**14
_MOST_AXES = 4

_NRRD_TYPES = {
    1: "signed char,int8,int8_t,uchar,unsigned char,uint8,uint8_t",
    2: "short,short int,signed short,signed short int,int16,int16_t,ushort,unsigned short,unsigned short int,uint16,"
       "uint16_t",
    4: "int,signed int,int32,int32_t,uint,unsigned int,uint32,uint32_t,float",
    8: "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t,ulonglong,"
       "unsigned long long,unsigned long long int,uint64,uint64_t,double",
}  # fmt: skip
_META_TYPES = {
    1: "MET_CHAR,MET_UCHAR,MET_ASCII_CHAR",
    2: "MET_SHORT,MET_USHORT",
    4: "MET_INT,MET_UINT,MET_LONG,MET_ULONG,MET_FLOAT",
    8: "MET_LONG_LONG,MET_ULONG_LONG,MET_DOUBLE",
}
# What the C libraries under ITK copy into buffers of fixed size, or parse without looking how long it is.
_NUMBER = r"[-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?\d{1,3})?"
_VECTOR = rf"\(\s*{_NUMBER}(?:\s*,\s*{_NUMBER}){{0,3}}\s*\)"
_VECTORS = rf"(?:none|{_VECTOR})(?:\s*(?:none|{_VECTOR})){{0,4}}"
_NUMBERS = rf"(?:nan|NaN|{_NUMBER})(?:\s+(?:nan|NaN|{_NUMBER})){{0,15}}"
_NRRD_FORMS = {
    **dict.fromkeys(("spacedirections", "measurementframe"), _VECTORS),
    "spaceorigin": _VECTOR,
    **dict.fromkeys(("spacings", "thicknesses", "axismins", "axismaxs", "oldmin", "oldmax"), _NUMBERS),
}
_META_FORMS = dict.fromkeys(
    ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation", "TransformMatrix", "Rotation",
     "Orientation", "ElementMin", "ElementMax", "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"),
    _NUMBERS,
)  # fmt: skip
_LONGEST_VALUE = 1024
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "ascii": "ascii", "text": "ascii", "txt": "ascii"}

_MILLIMETRES = {"mm": 1.0, "um": 0.001, "µm": 0.001, "micron": 0.001, "microns": 0.001, "cm": 10.0, "m": 1000.0}


@dataclass(frozen=True)
class ItkHeader:
    """Contents that a header promises.

    Attributes:
        sizes: of all axes, fastest first; with the samples of a voxel.
        itemsize: bytes of a number.
        data_file: name of the file beside the header that has the voxels; None where they follow it.
        millimetres: of the header's unit of length.
        reader: name of ITK's reader.
        start: place of the first byte of the voxels in their file; None where ITK looks for it.
        encoding: how the voxels are packed: ``raw``, ``gzip`` (also zlib) or ``ascii``.
        big_endian: byte order of the numbers.
        samples_first: the samples of a voxel, if there are several, stand together.
    """

    sizes: tuple[int, ...]
    itemsize: int
    data_file: str | None
    millimetres: float
    reader: str
    start: int | None
    encoding: str
    big_endian: bool
    samples_first: bool = True


def read_header(stream: BinaryIO, path: Path, limits: Limits) -> ItkHeader:
    """Read and check the header at the beginning of a file.

    Args:
        stream: the file, at its beginning.
        path: of the file; what lies apart must lie in its folder.
        limits: checked against what the header promises.

    Raises:
        ValueError: it is no such header, promises what is not allowed, or more than there is.
    """
    if stream.read(4) == b"NRRD":
        stream.seek(0)
        header = _nrrd(stream)
    else:
        stream.seek(0)
        header = _meta(stream)
    # ITK has an axis of samples, then up to four of space and time.
    if not 2 <= len(header.sizes) <= _MOST_AXES + 1 or min(header.sizes) < 1:
        raise ValueError(f"sizes {' '.join(map(str, header.sizes))} are none of a volume")
    spatial = sorted(header.sizes, reverse=True)
    check_volume(spatial, header.itemsize, limits)
    if header.data_file is not None:
        file = _beside(path, header.data_file)
        there = file.stat().st_size
    else:
        there = path.stat().st_size
    if header.encoding == "raw" and (header.start or 0) + math.prod(header.sizes) * header.itemsize > there:
        raise ValueError("the file is truncated: it has fewer voxels than its header says")
    return header


def data_file(path: Path) -> Path | None:
    """The file beside a header that has the voxels; None where they follow it, or where it cannot be read."""
    try:
        with path.open("rb") as stream:
            header = read_header(stream, path, Limits(sys.maxsize, sys.maxsize))
    except (OSError, ValueError):
        return None  # whoever wants the voxels is told why
    return None if header.data_file is None else path.with_name(header.data_file)


def _lines(stream: BinaryIO) -> list[str]:
    """Lines up to the first empty one, or to the one that names the data."""
    found: list[str] = []
    total = 0
    while True:
        line = stream.readline(_LONGEST_LINE + 1)
        total += len(line)
        if len(line) > _LONGEST_LINE or total > _LONGEST_HEADER:
            raise ValueError("its header is too long")
        if b"\0" in line:
            raise ValueError("its header is no text")
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:  # also the end of the file
            return found
        found.append(text)
        if re.match(r"ElementDataFile\s*=", text):
            return found


def _nrrd(stream: BinaryIO) -> ItkHeader:
    lines = _lines(stream)
    if not re.fullmatch(r"NRRD000[1-5]", lines[0].strip()):
        raise ValueError(f"unknown version {lines[0][:20]!r}")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        if line.startswith("#") or ":=" in line:
            continue
        key, colon, value = line.partition(":")
        key = key.strip().lower().replace(" ", "")
        if not colon or key in fields:
            raise ValueError(f"line {line[:40]!r} is {'there twice' if colon else 'no field'}")
        fields[key] = value.strip()
    _check_forms(fields, _NRRD_FORMS)
    sizes = _whole(fields.get("sizes", ""), "sizes")
    if _whole(fields.get("dimension", ""), "dimension") != (len(sizes),):
        raise ValueError(f"dimension {fields.get('dimension')} and sizes {fields.get('sizes')} do not agree")
    itemsize = _itemsize(fields.get("type", "").lower(), _NRRD_TYPES)
    encoding = fields.get("encoding", "").lower()
    if encoding not in _ENCODINGS:
        raise ValueError(f"encoding {encoding[:40]!r} is not read; save it as raw or gzip")
    for name in ("lineskip", "byteskip"):
        if fields.get(name, "0") != "0":
            raise ValueError(f"{name} {fields[name][:40]} is not read")
    units = {unit for unit in re.findall(r'"([^"]*)"', fields.get("spaceunits", fields.get("units", ""))) if unit}
    scales = {_MILLIMETRES.get(unit.lower(), 1.0) for unit in units} or {1.0}
    if len(scales) > 1:
        raise ValueError(f"axes in several units ({', '.join(sorted(units))}) are not read")
    data = fields.get("datafile")
    big = fields.get("endian", "little").lower() == "big"
    first = fields.get("kinds", "vector").split()[:1] not in (["domain"], ["space"], ["time"])
    start = 0 if data is not None else stream.tell()
    return ItkHeader(sizes, itemsize, data, scales.pop(), "NrrdImageIO", start, _ENCODINGS[encoding], big, first)


def _meta(stream: BinaryIO) -> ItkHeader:
    fields: dict[str, str] = {}
    lines = _lines(stream)
    for line in lines:
        key, sign, value = line.partition("=")
        if not sign or key.strip() in fields:
            raise ValueError(f"line {line[:40]!r} is {'there twice' if sign else 'no field of a MetaImage header'}")
        fields[key.strip()] = value.strip()
    _check_forms(fields, _META_FORMS)
    if "ElementDataFile" not in fields:
        raise ValueError("it does not begin with a MetaImage header, or ends in it")
    if fields.get("ObjectType", "Image") != "Image":
        raise ValueError(f"it is a {fields['ObjectType'][:40]!r}, no image")
    sizes = _whole(fields.get("DimSize", ""), "DimSize")
    if _whole(fields.get("NDims", ""), "NDims") != (len(sizes),):
        raise ValueError(f"NDims {fields.get('NDims')} and DimSize {fields.get('DimSize')} do not agree")
    itemsize = _itemsize(fields.get("ElementType", ""), _META_TYPES)
    (channels,) = _whole(fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels")[:1]
    skip = fields.get("HeaderSize", "0")
    if skip not in ("0", "-1"):  # -1: the voxels are the end of the file
        raise ValueError(f"HeaderSize {skip[:40]} is not read")
    data: str | None = fields["ElementDataFile"]
    if (data or "").upper() == "LOCAL":
        data = None
    encoding = "gzip" if _is_true(fields.get("CompressedData")) else "raw"
    if not _is_true(fields.get("BinaryData", "True")):
        encoding = "ascii"
    big = _is_true(fields.get("BinaryDataByteOrderMSB")) or _is_true(fields.get("ElementByteOrderMSB"))
    scale = _MILLIMETRES.get(fields.get("DistanceUnits", "mm").lower(), 1.0)
    sizes = (channels, *sizes) if channels > 1 else sizes
    start = None if skip == "-1" else 0 if data is not None else stream.tell()
    return ItkHeader(sizes, itemsize, data, scale, "MetaImageIO", start, encoding, big)


def _is_true(text: str | None) -> bool:
    return (text or "").lower() in ("true", "1", "t")


def _check_forms(fields: dict[str, str], forms: dict[str, str]) -> None:
    for name, value in fields.items():
        if len(name) > 80 or len(value) > _LONGEST_VALUE:
            raise ValueError(f"its field {name[:40]!r} is too long")
        if name in forms and not re.fullmatch(forms[name], value):
            raise ValueError(f"{name} {value[:40]!r} is not what it should be")


def _whole(text: str, name: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,12}(\s+\d{1,12})*", text):
        raise ValueError(f"{name} {text[:40]!r} is not what it should be")
    return tuple(map(int, text.split()))


def _itemsize(name: str, types: dict[int, str]) -> int:
    size = next((size for size, names in types.items() if name in names.split(",")), None)
    if size is None:
        raise ValueError(f"voxels of type {name[:40]!r} are not read")
    return size


def _beside(path: Path, name: str) -> Path:
    """The file of the voxels, in the header's own folder: a header may not point anywhere else.

    Raises:
        ValueError: it points elsewhere, or there is no such file.
    """
    if name != Path(name).name or name.startswith(".") or "%" in name or name.split()[0] == "LIST":
        raise ValueError(f"its voxels are in {name[:60]!r}: one file beside the header is read")
    file = path.with_name(name)
    if not file.is_file():
        raise ValueError(f"its voxels are missing: no {name} beside it")
    if file.resolve().parent not in (path.parent.resolve(), path.resolve().parent):
        raise ValueError(f"its voxels are in {name[:60]!r}, a link to another folder")
    return file
