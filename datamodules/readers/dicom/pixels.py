"""The stored samples of one DICOM frame, decoded; nothing is interpreted but colour.

Uncompressed data are pydicom's to unpack, compressed ones go through :mod:`datamodules.readers.dicom.codecs`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom import codecs as dicom_codecs
from datamodules.readers.dicom.header import Facts, Opened

# Told by name, since a user may have thousands of them.
_NOT_READ = {
    "1.2.840.10008.1.2.4.100": "MPEG-2 video", "1.2.840.10008.1.2.4.101": "MPEG-2 video",
    "1.2.840.10008.1.2.4.102": "MPEG-4 video", "1.2.840.10008.1.2.4.103": "MPEG-4 video",
    "1.2.840.10008.1.2.4.104": "MPEG-4 video", "1.2.840.10008.1.2.4.105": "MPEG-4 video",
    "1.2.840.10008.1.2.4.106": "MPEG-4 video", "1.2.840.10008.1.2.4.107": "HEVC video",
    "1.2.840.10008.1.2.4.108": "HEVC video", "1.2.840.10008.1.2.4.94": "JPIP, whose pixels are elsewhere",
    "1.2.840.10008.1.2.4.95": "JPIP, whose pixels are elsewhere",
}  # fmt: skip
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


def stored_frame(source: Opened, facts: Facts, frame: int, max_bytes: int) -> NDArray[Any]:
    """Decode one frame.

    Args:
        source: the open file.
        facts: of its header.
        frame: number of the frame, from 0.
        max_bytes: largest size of the decoded frame.

    Returns:
        (rows, columns), or (rows, columns, 3) in RGB, in native byte order; bits beyond ``bits_stored`` (in which old
        files keep overlays) are gone.

    Raises:
        ValueError: a transfer syntax that is not read, truncated or damaged data, or a frame larger than allowed.
    """
    from pydicom.pixels.decoders.base import get_decoder

    if source.syntax not in dicom_codecs.SYNTAXES and source.syntax not in _NATIVE:
        name = _NOT_READ.get(source.syntax, source.syntax)
        raise ValueError(f"its transfer syntax is not read ({name}): convert the file")
    size = facts.frame_pixels * facts.samples * math.ceil(facts.bits_allocated / 8)
    if size > max_bytes:
        raise ValueError(f"a frame unpacks to {size} bytes, more than the {max_bytes} allowed: raise --data.max_bytes")
    # Samples at the upper end of their word; pydicom takes them to be at the lower one.
    lifted = facts.high_bit - (facts.bits_stored - 1)
    options: dict[str, Any] = {
        "rows": facts.rows,
        "columns": facts.columns,
        "samples_per_pixel": facts.samples,
        "photometric_interpretation": facts.photometric,
        "bits_allocated": facts.bits_allocated,
        "bits_stored": facts.bits_stored,
        "pixel_representation": int(facts.signed),
        "planar_configuration": facts.planar,
        "pixel_keyword": source.keyword,
        "pixel_vr": source.vr,
    }
    decoder = get_decoder(source.syntax)
    source.file.seek(source.offset)
    if source.syntax in _NATIVE:
        data, inside, count = _native_bytes(source, facts, frame)
        options |= {"number_of_frames": count, "correct_unused_bits": not lifted}
        array, _ = decoder.as_array(data, index=inside, validate=True, **options)
        if lifted:
            shift = facts.bits_allocated - 1 - facts.high_bit
            array = (array << shift) >> (facts.bits_allocated - facts.bits_stored)
    else:
        if source.length is not None:
            raise ValueError("its pixel data are not compressed, although the transfer syntax says so")
        dicom_codecs.register()
        options |= {"number_of_frames": facts.frames, "extended_offsets": _extended_offsets(source)}
        if options["extended_offsets"] is None:
            del options["extended_offsets"]
        array, _ = decoder.as_array(
            source.file, index=frame, validate=True, decoding_plugin=dicom_codecs.NAME, **options
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))


def _native_bytes(source: Opened, facts: Facts, frame: int) -> tuple[bytes, int, int]:
    """The bytes that hold a frame, which of the frames in them it is, and how many they are."""
    bits = facts.frame_pixels * facts.samples * facts.bits_allocated
    if facts.photometric == "YBR_FULL_422":
        bits = bits // 3 * 2
    together = 1 if bits % 8 == 0 else facts.frames  # frames of single bits may begin within a byte
    if bits % 16 and facts.bits_allocated == 8:
        together = facts.frames  # big endian words of two frames
    start, inside = (frame * bits // 8, 0) if together == 1 else (0, frame)
    needed = math.ceil(bits * together / 8)
    there = min(source.available if source.length is None else source.length, source.available)
    if there < start + needed:
        raise ValueError(f"the pixel data end after {there} bytes, but {math.ceil(bits * facts.frames / 8)} are needed")
    source.file.seek(source.offset + start)
    data = source.file.read(needed + (needed % 2 if there > start + needed else 0))
    return data + b"\0" * (len(data) % 2), inside, together


def _extended_offsets(source: Opened) -> tuple[bytes, bytes] | None:
    offsets, lengths = (source.dataset.get(f"ExtendedOffsetTable{name}") for name in ("", "Lengths"))
    return (bytes(offsets), bytes(lengths)) if offsets and lengths else None
