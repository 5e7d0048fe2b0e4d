"""The header of a DICOM file: opened without its pixels, missing tags filled in by stated rules, sizes checked.

The rules for what is missing stand in ``docs/dicom.md``.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from unicodedata import normalize

from datamodules.readers.limits import DEFAULT
from datamodules.readers.named_errors import decoder_words, named_errors
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

SUFFIXES = (".dcm", ".dicom", ".ima")
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # Segmentation, Label Map
_NO_SCANS = (*SEGMENTATIONS, "1.2.840.10008.5.1.4.1.1.481.2")  # RT Dose: what has pixels and is made from a scan
MAX_PIXELS = DEFAULT.max_pixels  # rows times columns of one frame
MAX_BYTES = DEFAULT.max_bytes  # of what is unpacked from one file at once

_EXPLICIT = "1.2.840.10008.1.2.1"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_UNDEFINED = 0xFFFFFFFF
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_GREYS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")


@dataclass(frozen=True)
class Opened:
    """A file with its header read.

    Attributes:
        path: the file.
        file: positioned at the value of the pixel data.
        dataset: everything before the pixel data.
        syntax: transfer syntax of the pixel data.
        keyword: ``PixelData``, ``FloatPixelData``, ``DoubleFloatPixelData``, or empty where there are none.
        vr: ``OB`` or ``OW``; the latter where the header leaves it out.
        offset: of the value in ``file``.
        length: bytes of the value; None where it is told by its end (compressed data).
        available: bytes from ``offset`` to the end of the file.
    """

    path: Path
    file: BinaryIO
    dataset: FileDataset
    syntax: str
    keyword: str
    vr: str
    offset: int
    length: int | None
    available: int


@dataclass(frozen=True)
class Facts:
    """Facts of an image's samples from its header, with what is missing filled in."""

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: int
    is_float: bool = False

    @property
    def frame_pixels(self) -> int:
        """Rows times columns."""
        return self.rows * self.columns

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and the highest value that ``bits_stored`` hold."""
        half = 2 ** (self.bits_stored - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do: ``DICM`` after a preamble of 128 bytes (PS3.10, 7.1)."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_scan(path: Path) -> bool:
    """Whether a DICOM file is an image of a scan: no segmentation, dose, report, presentation state or plan.

    A file that cannot be read counts as one, so that reading it says what is wrong; one that is not DICOM does not.
    """
    if not path.is_file() or not is_dicom(path):
        return False
    try:
        with opened(path) as source:
            return shows_scan(source)
    except SuiteError:
        return True


def shows_scan(source: Opened) -> bool:
    """:func:`is_scan` of an open file."""
    return bool(source.keyword) and text(source.dataset, "SOPClassUID") not in _NO_SCANS


def _words(error: Exception) -> str:
    """The last of what pydicom says of each decoder it tried, without our decoder's name."""
    text = str(error).split("plugins:")[-1].strip().removeprefix("scansuite: ")
    return decoder_words(error if text == str(error) else ValueError(text))


@contextmanager
def opened(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[Opened]:
    """Open a file and read its header; errors inside name the file.

    Args:
        path: the file.
        max_bytes: largest size that a file whose whole data set is deflated may unpack to.

    Raises:
        SuiteError: no such file, not DICOM, or a header that cannot be read.
    """
    import pydicom

    quiet()
    with named_errors(path, "cannot be read as DICOM", _words), path.open("rb") as raw:
        head = raw.read(4096)
        if head[128:132] != b"DICM":
            raise ValueError("it has no DICM mark at byte 128" if head else "the file is empty")
        deflated = head.find(_DEFLATED.encode()) > 0
        file = _inflate(raw, max_bytes) if deflated else raw
        file.seek(0)
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        yield _find_pixels(path, file, dataset)


def _inflate(raw: BinaryIO, max_bytes: int) -> BinaryIO:
    """The file as it would be without deflate; never more than ``max_bytes`` are unpacked (PS3.5 annex A.5)."""
    raw.seek(0)
    data = raw.read()
    start = 144 + struct.unpack("<L", data[140:144])[0]  # behind the group of the file's own description
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = unpacker.decompress(data[start:], max_bytes + 1)
    if len(plain) > max_bytes:
        raise ValueError(f"it unpacks to more than the {max_bytes} bytes allowed")
    if not unpacker.eof:
        raise ValueError("the deflated data are truncated")
    meta = data[:start].replace(_DEFLATED.encode(), _EXPLICIT.encode().ljust(len(_DEFLATED), b"\0"))
    return io.BytesIO(meta + plain)


def _find_pixels(path: Path, file: BinaryIO, dataset: FileDataset) -> Opened:
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    keyword, vr, length = "", "OW", 0
    head = file.read(8 if implicit else 12)
    if len(head) in (8, 12):
        group, element = struct.unpack(f"{order}HH", head[:4])
        keyword = _PIXELS.get(group << 16 | element, "")
        if not implicit:
            vr = head[4:6].decode("ascii", "replace")
        length = struct.unpack(f"{order}L", head[-4:])[0]
    syntax = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    if not syntax:  # guessed by pydicom; compressed pixels cannot be guessed
        if length == _UNDEFINED:
            raise ValueError("it does not say its transfer syntax (0002,0010), and its pixels are compressed")
        syntax = "1.2.840.10008.1.2" if implicit else _EXPLICIT if little else "1.2.840.10008.1.2.2"
    offset = file.tell()
    known = None if length == _UNDEFINED else length
    return Opened(path, file, dataset, syntax, keyword, vr, offset, known, end - offset)


def image_facts(source: Opened, max_pixels: int = MAX_PIXELS) -> Facts:
    """Read what the header says of the image, and fill in what it lacks.

    Raises:
        ValueError: there is no image, a tag without a default is missing, a value is out of range, or the image is
            larger than allowed.
    """
    dataset = source.dataset
    if not source.keyword:
        kind = " ".join(str(dataset.get("Modality", "")).split())[:16] or "no modality"
        raise ValueError(f"it has no image ({kind}): leave it out")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if not rows or not columns or rows < 1 or columns < 1:
        raise ValueError("Rows (0028,0010) or Columns (0028,0011) are missing")
    if rows * columns > max_pixels:
        raise ValueError(
            f"{columns} x {rows} pixels are more than the {max_pixels} allowed; cut it into tiles, or raise "
            "--data.max_pixels"
        )
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    samples = whole(dataset, "SamplesPerPixel") or (3 if photometric in _COLOURS else 1)
    photometric = photometric or ("RGB" if samples == 3 else "MONOCHROME2")
    if (samples, photometric) not in [*((3, name) for name in _COLOURS), *((1, name) for name in _GREYS)]:
        raise ValueError(f"{samples} samples a pixel of kind {photometric} are not read: convert it to RGB")
    size = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(source.keyword)
    allocated = size or whole(dataset, "BitsAllocated")
    if allocated not in (1, 8, 16, 32, 64):
        raise ValueError(f"BitsAllocated (0028,0100) is {allocated or 'missing'}; 1, 8, 16, 32 and 64 are read")
    stored = size or whole(dataset, "BitsStored") or allocated
    if not 1 <= stored <= allocated:
        raise ValueError(f"BitsStored (0028,0101) is {stored}, but {allocated} are allocated")
    high = whole(dataset, "HighBit")
    return Facts(
        rows=rows,
        columns=columns,
        frames=max(whole(dataset, "NumberOfFrames") or 1, 1),
        samples=samples,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high is None or not stored - 1 <= high < allocated else high,
        signed=whole(dataset, "PixelRepresentation") == 1 and size is None,
        planar=1 if whole(dataset, "PlanarConfiguration") == 1 else 0,
        is_float=size is not None,
    )


def whole(dataset: Dataset, keyword: str) -> int | None:
    """A whole number of the header (the first where there are several), or None where it is missing or no number."""
    value = number(dataset, keyword)
    return None if value is None else int(value)


def number(dataset: Dataset, keyword: str) -> float | None:
    """A finite number of the header (the first where there are several), or None."""
    several = numbers(dataset, keyword)
    return several[0] if several else None


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Numbers of the header; nothing where they are missing, or one of them is no finite number."""
    value: Any = dataset.get(keyword)
    parts = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
    if value is None or isinstance(value, (str, bytes)):
        return ()
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()
    return found if all(map(math.isfinite, found)) else ()


def text(dataset: Dataset, keyword: str) -> str | None:
    """Text of the header on one line and composed (NFC), or None where it is missing or empty."""
    value = dataset.get(keyword)
    return " ".join(normalize("NFC", str(value)).split()) or None if value is not None else None


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; nothing where it is missing."""
    value = dataset.get(keyword)
    return list(cast("Any", value)) if value is not None and not isinstance(value, (str, bytes)) else []


def frame_item(dataset: Dataset, keyword: str, frame: int) -> Dataset:
    """Item with a frame's tags of one kind: its own functional group, else the shared one, else the file itself.

    Args:
        dataset: the header.
        keyword: the group, such as ``PixelMeasuresSequence`` (PS3.3 C.7.6.16).
        frame: number of the frame, from 0.
    """
    own = items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    for group in (*own[frame : frame + 1], *shared[:1]):
        found = items(group, keyword)
        if found:
            return found[0]
    return dataset


@cache
def quiet() -> None:
    """Oddities of headers are common and harmless; a line on standard error for each is neither. What is not raises."""
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    for name in ("pydicom", "imagecodecs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger(name).propagate = False
