"""A TIFF with pages as a volume: the pages are its slices, or the channels of them."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.readers.grid import Grid, Volume, check_volume, geometry_header
from datamodules.readers.limits import Limits
from datamodules.readers.raster import quiet_decoders
from datamodules.readers.tiff import (
    check_chain,
    check_page,
    count_planes,
    image_pages,
    plain_stack,
    read_planes,
    shown_samples,
)
from datamodules.readers.tiff_axes import alpha_of, arranged, planes_of
from datamodules.readers.unpack import Unpacked, read_all

if TYPE_CHECKING:
    from tifffile import TiffFile

# Units of ImageJ and OME in mm.
_MILLIMETRES = {
    "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "micron": 1e-3, "um": 1e-3, "µm": 1e-3, "μm": 1e-3,
    "\\u00b5m": 1e-3, "nm": 1e-6, "inch": 25.4,
}  # fmt: skip


def decode_pages(path: Path, opened: Unpacked, limits: Limits, *, decode: bool, labels: bool = False) -> Grid:
    """Decode an open file: its grid, or with ``decode`` a :class:`~datamodules.readers.grid.Volume`.

    Columns are X, rows Y and pages Z; channels (of ImageJ, OME or tifffile) are the last axis, as samples are, and
    alpha is left out. The spacing is ImageJ's or OME's where the file has it, else 1 mm: the resolution
    of plain TIFF is that of a printer. The file does not say how it lies in the patient: axial slices are the pages as
    they are seen.

    Args:
        path: for messages.
        opened: the TIFF.
        limits: checked in the tags of the pages.
        decode: read the voxels too.
        labels: the file is a mask.

    Raises:
        ValueError: pages differ in size or type; time points; too large; truncated; of a kind that is not read.
        Exception: whatever the decoders raise on damaged files.
    """
    from tifffile import TiffFile

    quiet_decoders()
    file = io.BytesIO(read_all(opened.stream)) if opened.packed else opened.stream
    pages = check_chain(file)
    with TiffFile(file) as tiff:
        stack = plain_stack(tiff, pages, limits)
        page = tiff.pages.first if stack is not None else image_pages(tiff)[0]
        check_page(page, limits)
        planes = planes_of(tiff, len(stack) if stack is not None else count_planes(tiff))
        shape = (page.imagewidth, page.imagelength, len(planes))
        channels = planes.shape[1] * shown_samples(page, labels=labels)
        check_volume((*shape, channels), page.dtype.itemsize, limits)
        x, y, z = spacing_of(tiff)
        affine = np.diag([-x, -y, z, 1.0])
        if not decode:
            said = (*shape, channels) if channels > 1 else shape
            return Grid(str(path), shape, affine, geometry_header(said, affine))
        # Read now, and in the machine's byte order.
        stack = (
            read_planes(tiff, limits, labels=labels)
            if stack is None
            else stack.astype(stack.dtype.newbyteorder("="), copy=True)
        )
        alpha = alpha_of(page)
        if alpha is not None and stack.ndim == 4 and stack.shape[3] == page.samplesperpixel:
            stack = np.delete(stack, alpha, axis=3)
        stack = arranged(stack, planes)
    values = np.moveaxis(stack, (0, 1, 2), (2, 1, 0))
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    # What the page really shows: it may have been turned upright.
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return Volume(str(path), shape, affine, geometry_header(values.shape, affine), values)


def spacing_of(tiff: TiffFile) -> tuple[float, float, float]:
    """Mm along columns, rows and pages; 1 where the file does not say."""
    found = _ome(tiff.ome_metadata) if tiff.is_ome and tiff.ome_metadata else _imagej(tiff)
    x, y, z = (length if length is not None and 0 < length < math.inf else 1.0 for length in found)
    return x, y, z


def _ome(text: str) -> tuple[float | None, ...]:
    """``PhysicalSizeX`` and its unit (micrometres unless given) of the first image of an OME block."""
    lengths: list[float | None] = []
    for axis in "XYZ":
        size = re.search(rf'\bPhysicalSize{axis}="([0-9.eE+-]{{1,30}})"', text)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]{{1,20}})"', text)
        scale = _MILLIMETRES.get(unit[1]) if unit is not None else 1e-3
        try:
            lengths.append(float(size[1]) * scale if size is not None and scale is not None else None)
        except ValueError:
            lengths.append(None)
    return tuple(lengths)


def _imagej(tiff: TiffFile) -> tuple[float | None, ...]:
    """ImageJ's ``spacing`` of pages, and pixels a unit in the tags of resolution."""
    described = tiff.imagej_metadata if tiff.is_imagej else None
    scale = _MILLIMETRES.get(str((described or {}).get("unit", "")).strip())
    if described is None or scale is None:
        return None, None, None
    lengths: list[float | None] = []
    for name in ("XResolution", "YResolution"):
        pixels, units = tiff.pages[0].tags.valueof(name, (0, 1))
        lengths.append(units / pixels * scale if pixels else None)
    spacing = described.get("spacing")
    lengths.append(abs(float(spacing)) * scale if isinstance(spacing, int | float) else None)
    return tuple(lengths)
