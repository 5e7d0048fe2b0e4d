"""DICOM images -> arrays in the quantity they stand for, with geometry; frame by frame.

Tags that are handled, rules for those that are missing, and transfer syntaxes stand in ``docs/dicom.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom.geometry import flat_affine, pixel_spacing
from datamodules.readers.dicom.header import (
    MAX_BYTES,
    MAX_PIXELS,
    SUFFIXES,
    Facts,
    Opened,
    image_facts,
    is_dicom,
    opened,
    shows_scan,
    text,
)
from datamodules.readers.dicom.pixels import stored_frame
from datamodules.readers.dicom.values import quantity, stored_range, windows
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError

__all__ = ["SUFFIXES", "count_frames", "is_dicom", "read", "read_frames"]


def read(
    path: Path,
    *,
    frame: int | None = None,
    voi: int | None = None,
    labels: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> Scan:
    """Read one image.

    Args:
        path: the file, whatever its suffix.
        frame: number of the frame, from 0; may be left out where there is one.
        voi: number of a VOI LUT or window of the header (LUTs count first) that the values go through; left out: the
            quantity itself.
        labels: the file is a mask, whose values are neither turned, nor filled, nor coloured; it may be a segmentation.
        max_pixels: largest rows times columns; checked in the header, before anything is decoded.
        max_bytes: largest size of what is unpacked.

    Returns:
        The array: grey (H, W) after modality LUT or rescale (HU for CT), black low, padding filled; colour (H, W, 3) in
        RGB; see :func:`datamodules.readers.dicom.values.quantity` for types. ``info`` has ``path``, ``original_size``,
        ``spacing`` (mm per row and column), ``affine`` ((column, row, slice) -> RAS mm), ``windows`` ((centre, width)
        of the header in units of the array), ``stored_range`` where the header says more of it than the array's type
        (0 and 4095 where 12 bits are stored) and, where ``frame`` was given, ``slice``.

    Raises:
        SuiteError: no such file, not DICOM, no image, truncated or damaged, too large, a transfer syntax or colours
            that are not read, several frames where ``frame`` is left out; a segmentation or a dose, unless ``labels``.
    """
    with opened(path, max_bytes) as source:
        facts = image_facts(source, max_pixels)
        if not labels and not shows_scan(source):
            raise ValueError(f"it is no scan, but was made from one ({text(source.dataset, 'Modality')}): leave it out")
        if frame is None and facts.frames > 1:
            raise ValueError(f"it has {facts.frames} frames: say which one, or read it as a volume")
        if frame is not None and not 0 <= frame < facts.frames:
            raise ValueError(f"it has {facts.frames} frames, so there is no number {frame}")
        return _scan(source, facts, frame, max_bytes, voi, labels=labels)


def read_frames(path: Path, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> list[Scan]:
    """Read all frames of a file, its header once; see :func:`read`.

    Raises:
        SuiteError: as in :func:`read`, or the frames together take more than ``max_bytes``.
    """
    with opened(path, max_bytes) as source:
        facts = image_facts(source, max_pixels)
        check_bytes(facts, facts.frames, max_bytes)
        single = facts.frames == 1
        return [_scan(source, facts, None if single else one, max_bytes) for one in range(facts.frames)]


def count_frames(path: Path) -> int:
    """Number of frames of an image, from its header.

    Raises:
        SuiteError: not DICOM, or no image.
    """
    with opened(path) as source:
        return image_facts(source).frames


def check_bytes(facts: Facts, frames: int, max_bytes: int) -> None:
    """Refuse frames that together would take more memory than allowed.

    Raises:
        ValueError: says how much, and which flag allows it.
    """
    size = facts.frame_pixels * facts.samples * max(1, facts.bits_allocated // 8) * frames
    if size > max_bytes:
        raise ValueError(
            f"{frames} frames unpack to {size} bytes, more than the {max_bytes} allowed; if you trust the file, raise "
            "--data.max_bytes"
        )


def frame_values(
    source: Opened, facts: Facts, frame: int, max_bytes: int, voi: int | None = None, *, labels: bool = False
) -> NDArray[Any]:
    """The quantity of one frame of an open file, (H, W) or (H, W, 3); see :func:`read`."""
    stored = stored_frame(source, facts, frame, max_bytes)
    array = quantity(stored, facts, source.dataset, frame, voi, labels=labels)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise SuiteError(
            f"{source.path}: cannot be read as DICOM: {count} pixels are NaN or infinite", kind="not_finite"
        )
    return np.ascontiguousarray(array)


def _scan(
    source: Opened, facts: Facts, frame: int | None, max_bytes: int, voi: int | None = None, *, labels: bool = False
) -> Scan:
    number = frame or 0
    array = frame_values(source, facts, number, max_bytes, voi, labels=labels)
    info = ScanInfo(
        path=str(source.path),
        original_size=(facts.rows, facts.columns),
        spacing=pixel_spacing(source.dataset, number),
        affine=flat_affine(source.dataset, number),
        windows=windows(source.dataset, facts, number) if array.ndim == 2 and voi is None else (),
    )
    stated = stored_range(array, source.dataset, facts, number) if voi is None else None
    if stated is not None:
        info["stored_range"] = stated
    if frame is not None:
        info["slice"] = frame
    return Scan(array, info)
