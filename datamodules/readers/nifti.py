"""NIfTI-1 and NIfTI-2, through ``nibabel``."""

from __future__ import annotations

import logging
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.grid import Grid, Volume, check_volume, is_invertible
from datamodules.readers.limits import Limits
from datamodules.readers.unpack import Unpacked
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


def decode_nifti(path: Path, opened: Unpacked, limits: Limits, *, decode: bool, labels: bool = False) -> Grid:
    """Decode an open file: its grid, or with ``decode`` a :class:`~datamodules.readers.grid.Volume`.

    Args:
        path: for messages.
        opened: NIfTI-1 or NIfTI-2.
        limits: checked in the header.
        decode: read the voxels too.
        labels: the file is a mask; its values are the same.

    Raises:
        SuiteError: what :func:`datamodules.readers.volume.read_volume` refuses by name.
        Exception: whatever nibabel raises on damaged files.
    """
    _quiet_nibabel()
    image = _open(opened.stream)
    header = image.header
    stored = image.shape
    if not stored or min(stored) < 1:
        raise SuiteError(f"{path}: has no voxels (shape {stored}): leave out this file")
    shape = (*stored, 1, 1)[:3]
    frames = stored[3:]
    if sum(size > 1 for size in frames) > 1:
        raise SuiteError(f"{path}: has frames along several axes (shape {stored}): save them along one")
    if image.get_data_dtype().kind not in "buif":
        raise SuiteError(f"{path}: voxels of type {image.get_data_dtype()} are no plain numbers: convert the file")
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
    kept = _scaled_type(image.get_data_dtype()) if scaled else None
    check_volume(stored, np.dtype(kept or image.get_data_dtype()).itemsize, limits)
    grid = Grid(str(path), cast("tuple[int, int, int]", shape), _affine_in_mm(path, header), header)
    if not decode:
        return grid
    values = np.asarray(image.dataobj, dtype=kept)
    values = values.reshape(*shape, *(size for size in frames if size > 1))
    kind = values.dtype.newbyteorder("=") if values.dtype.itemsize <= 8 else np.dtype(np.float64)
    values = values.astype(kind, copy=False)
    return Volume(grid.path, grid.shape, grid.affine, grid.header, values)


def _open(file: BinaryIO) -> Nifti1Image:
    import nibabel

    start = file.read(4)
    file.seek(0)
    if len(start) < 4:
        raise EOFError("the file is empty" if not start else "the file ends in its header")
    size = {struct.unpack("<i", start)[0], struct.unpack(">i", start)[0]}
    if not size & {348, 540}:
        raise ValueError("it does not begin with a NIfTI-1 or NIfTI-2 header")
    reader = nibabel.Nifti2Image if 540 in size else nibabel.Nifti1Image
    return cast("Nifti1Image", reader.from_stream(cast("Any", file)))


def _scaled_type(stored: np.dtype[Any]) -> type[np.floating[Any]]:
    """float32 holds what 16 bits, or a float32, become by a slope and an intercept; larger types need float64."""
    return np.float32 if stored.itemsize <= 2 or (stored.kind, stored.itemsize) == ("f", 4) else np.float64


def _affine_in_mm(path: Path, header: Nifti1Header) -> NDArray[np.float64]:
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    affine[:3] *= _MILLIMETRES[header.get_xyzt_units()[0]]
    if not is_invertible(affine):
        raise SuiteError(f"{path}: its affine cannot be inverted: repair the header's sform or qform")
    return affine


@cache
def _quiet_nibabel() -> None:
    """Oddities of headers are common and harmless; a line on standard error for each is neither."""
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
