"""Compressed DICOM frames -> bytes: one decoding plugin for pydicom, on the libraries that ``imagecodecs`` brings.

libjpeg-turbo 3 decodes 8 and 12 bit and the lossless processes, CharLS decodes JPEG-LS, OpenJPEG decodes JPEG 2000 and
High-Throughput JPEG 2000. A codestream says in its header how large it is; where that is not what the DICOM header
says, nothing is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

NAME = "scansuite"  # of the plugin in pydicom's decoders

_RLE = "1.2.840.10008.1.2.5"
_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)}
_JPEG_LS = {f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)}
SYNTAXES = frozenset({_RLE, *_JPEG, *_JPEG_LS, *_JPEG_2000})

# What pydicom asks of a plugin; all of it is in the core.
DECODER_DEPENDENCIES: dict[str, tuple[str, ...]] = dict.fromkeys(SYNTAXES, ("imagecodecs",))

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}  # SOF0-SOF15, and SOF55 of JPEG-LS
_RGB_IDS = (b"RGB", b"rgb")


@dataclass(frozen=True)
class Stream:
    """Header of a codestream.

    Attributes:
        height: rows.
        width: columns.
        components: 1 for grey, 3 for colour.
        precision: bits of a sample.
        colours: JPEG only: ``rgb`` or ``ycbcr``, where the stream itself says so (by JFIF, Adobe, or the names of its
            components).
    """

    height: int
    width: int
    components: int
    precision: int
    colours: str | None = None


def is_available(uid: str) -> bool:
    """Whether the plugin decodes a transfer syntax; pydicom asks."""
    return uid in SYNTAXES


@cache
def register() -> None:
    """Make the plugin known to pydicom, once in each process."""
    from pydicom.pixels.decoders.base import get_decoder

    for uid in sorted(SYNTAXES):
        decoder = get_decoder(uid)
        if NAME not in decoder.available_plugins:
            decoder.add_plugin(NAME, (__name__, "decode_frame"))


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes | bytearray:
    """Decode one frame; pydicom calls it.

    Args:
        source: the codestream.
        runner: what the DICOM header says; what the decoder gives otherwise is set there.

    Raises:
        ValueError: the codestream is of another size than the header says, truncated, or damaged.
    """
    syntax = str(runner.transfer_syntax)
    if syntax == _RLE:
        return _decode_rle(source, runner)
    stream = jpeg_2000_header(source) if syntax in _JPEG_2000 else jpeg_header(source)
    said = (stream.height, stream.width, stream.components)
    if said != (runner.rows, runner.columns, runner.samples_per_pixel):
        raise ValueError(
            f"the compressed image has {stream.width} x {stream.height} pixels of {stream.components} samples, but the "
            f"header says {runner.columns} x {runner.rows} of {runner.samples_per_pixel}"
        )
    if syntax in _JPEG_2000:
        array = _decode_jpeg_2000(source, runner)
    elif syntax in _JPEG_LS:
        array = _decode_jpeg_ls(source)
    else:
        array = _decode_jpeg(source, runner, stream)
    if array.shape[:2] != said[:2] or array.size != np.prod(said):
        raise ValueError(f"the decoder gave an array of shape {array.shape}")
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * array.itemsize)
    return array.tobytes()


def jpeg_header(source: bytes) -> Stream:
    """Read the header of a JPEG or JPEG-LS codestream (ITU T.81 annex B, T.87 annex C).

    Raises:
        ValueError: there is none, or no end.
    """
    if source[:2] != b"\xff\xd8":
        raise ValueError("the compressed data are not JPEG")
    if source.rstrip(b"\0")[-2:] != b"\xff\xd9" and b"\xff\xd9" not in source[-64:]:
        raise ValueError("the compressed data are truncated")  # libjpeg would fill them up with grey
    place, colours = 2, None
    while place + 4 <= len(source):
        if source[place] != 0xFF:
            raise ValueError("the header of the compressed data is damaged")
        marker = source[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        length = int.from_bytes(source[place + 2 : place + 4])
        if marker in _FRAMES:
            components = source[place + 9]
            names = source[place + 10 : place + 10 + 3 * components : 3]
            return Stream(
                int.from_bytes(source[place + 5 : place + 7]),
                int.from_bytes(source[place + 7 : place + 9]),
                components,
                source[place + 4],
                "rgb" if names in _RGB_IDS else colours,
            )
        if marker == 0xE0 and source[place + 4 : place + 8] == b"JFIF":
            colours = "ycbcr"
        elif marker == 0xEE and source[place + 4 : place + 9] == b"Adobe" and length >= 14 and colours is None:
            colours = "ycbcr" if source[place + 15] else "rgb"
        place += 2 + max(length, 2)
    raise ValueError("the compressed data have no frame header")


def jpeg_2000_header(source: bytes) -> Stream:
    """Read the header of a JPEG 2000 codestream, bare or in a JP2 file (ITU T.800 annex A.5.1).

    Raises:
        ValueError: there is none, or its components differ in size.
    """
    start = source.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(source) < start + 45:
        raise ValueError("the compressed data are not JPEG 2000")
    numbers = [int.from_bytes(source[place : place + 4]) for place in range(start + 8, start + 40, 4)]
    width, height, left, top = numbers[:4]
    components = int.from_bytes(source[start + 40 : start + 42])
    parts = source[start + 42 : start + 42 + 3 * components]
    if any(step != 1 for step in (*parts[1::3], *parts[2::3])):
        raise ValueError("the components of the compressed image differ in size")
    return Stream(height - top, width - left, components, (parts[0] & 0x7F) + 1)


def _decode_rle(source: bytes, runner: DecodeRunner) -> bytes | bytearray:
    """The samples of an RLE frame, colour by plane (PS3.5 annex G)."""
    import imagecodecs

    planes = runner.bits_allocated // 8 * runner.samples_per_pixel
    segments = int.from_bytes(source[:4], "little")
    if len(source) < 64 or segments != planes:
        raise ValueError(f"{segments} run-length segments, but {planes} are needed")
    offsets = [int.from_bytes(source[4 * number : 4 * number + 4], "little") for number in range(1, segments + 1)]
    if any(start >= end for start, end in pairwise([63, *offsets, len(source)])):
        raise ValueError("a run-length segment lies outside the data: they are truncated or damaged")
    # Told the type of the whole word, it puts the highest byte, which comes first, where it belongs.
    samples = imagecodecs.dicomrle_decode(source, np.dtype(f"<u{runner.bits_allocated // 8}"))
    needed = runner.rows * runner.columns * planes
    if len(samples) < needed:
        raise ValueError(f"the run-length segments have {len(samples)} of {needed} bytes: they are truncated")
    runner.set_option("planar_configuration", 1)
    return bytes(samples[:needed])


def _decode_jpeg(source: bytes, runner: DecodeRunner, stream: Stream) -> NDArray[Any]:
    import imagecodecs

    if stream.components == 1:
        return imagecodecs.jpeg_decode(source)
    # The stream's own word on colours counts more than the header's, which is often left behind by a converter.
    said = "ycbcr" if str(runner.photometric_interpretation).startswith("YBR") else "rgb"
    array = imagecodecs.jpeg_decode(source, colorspace=stream.colours or said, outcolorspace="rgb")
    runner.set_option("photometric_interpretation", "RGB")
    return array


def _decode_jpeg_ls(source: bytes) -> NDArray[Any]:
    import imagecodecs

    return imagecodecs.jpegls_decode(source)


def _decode_jpeg_2000(source: bytes, runner: DecodeRunner) -> NDArray[Any]:
    import imagecodecs

    array = imagecodecs.jpeg2k_decode(source, numthreads=1)
    if str(runner.photometric_interpretation) in ("YBR_ICT", "YBR_RCT"):  # undone by the decoder
        runner.set_option("photometric_interpretation", "RGB")
    return array
