"""NIfTI volumes -> arrays with their geometry; and back onto the same grid.

Decoding is ``nibabel``'s. Arrays keep the file's own voxel order (X, Y, Z); :func:`to_slices` turns them to anatomical
slices through the affine, :func:`from_slices` turns them back without loss.
"""

from __future__ import annotations

import gzip
import logging
import os
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.types import SuiteError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

SUFFIXES = (".nii", ".nii.gz")

Plane = Literal["axial", "coronal", "sagittal"]
# Where slices, rows and columns run to. Axial and coronal slices are seen as radiologists see them: the patient's left
# is on the right of the picture. Sagittal slices have the face on the left.
PLANES: dict[Plane, tuple[str, str, str]] = {
    "axial": ("S", "P", "L"),
    "coronal": ("A", "I", "L"),
    "sagittal": ("R", "I", "P"),
}
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_AFFINE_TOLERANCE = 1e-3  # the largest difference of two affines' entries that counts as rounding


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a file lie.

    Attributes:
        path: as the user would name the file.
        shape: (X, Y, Z) voxels; a flat image has Z = 1.
        affine: (4, 4) voxel index -> RAS mm.
        header: of the file; a writer takes its geometry.
    """

    path: str
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    header: Nifti1Header

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Mm from voxel to voxel along X, Y and Z."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


@dataclass(frozen=True, eq=False)
class Volume(Grid):
    """A decoded file.

    Attributes:
        array: (X, Y, Z), or (X, Y, Z, C) where the file has several frames; the stored quantity with the header's slope
            and intercept applied (float32, float64 from 32-bit integers). Types stay where there is no scaling.
    """

    array: NDArray[Any]


def is_volume(name: str) -> bool:
    """Whether a file is a NIfTI volume by its name."""
    return name.lower().endswith(SUFFIXES)


def is_series(path: Path) -> bool:
    """Whether a path is a volume in DICOM: a folder with a series, or a file with frames."""
    from datamodules.readers.dicom_header import is_dicom

    return not is_volume(path.name) and (path.is_dir() or is_dicom(path))


def read_grid(path: Path) -> Grid:
    """Read the header of a NIfTI-1 or NIfTI-2 file: where its voxels lie.

    Raises:
        SuiteError: as in :func:`read_volume`, as far as the header tells.
    """
    return _read(path, decode=False)


def read_volume(path: Path) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file, compressed or not; or a DICOM series (:mod:`datamodules.readers.dicom_series`).

    The affine is the sform, else the qform, else what the voxel sizes give, in mm whatever the header's unit. One frame
    of a 4D file is taken for the volume itself; several frames (and the vectors of a 5D file) are the last axis.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.

    Raises:
        SuiteError: no such file, not NIfTI, damaged or truncated (also in the checksum of ``.nii.gz``), without voxels,
            of a type that is no real number, with NaN or infinite values, or with an affine that cannot be inverted.
    """
    return cast("Volume", _read(path, decode=True))


def _read(path: Path, *, decode: bool) -> Grid:
    if is_series(path):
        from datamodules.readers import dicom_series

        return dicom_series.read_volume(path) if decode else dicom_series.read_grid(path)
    if not is_volume(path.name):
        raise SuiteError(f"{path}: not a volume by its name: expected one of {' '.join(SUFFIXES)}")
    _quiet_nibabel()
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if zipped:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _decode(path, cast("BinaryIO", unpacked), decode=decode)
            return _decode(path, file, decode=decode)
    except SuiteError:
        raise
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SuiteError(f"{path}: damaged or truncated ({error}): copy or fetch it again") from None
    except Exception as error:  # nibabel raises whatever its parts raise on damaged files
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise SuiteError(f"{path}: cannot be decoded as NIfTI: {reason}") from None


def _decode(path: Path, file: BinaryIO, *, decode: bool) -> Grid:
    image = _open(file)
    header = image.header
    stored = image.shape
    if not stored or 0 in stored:
        raise SuiteError(f"{path}: has no voxels (shape {stored}): leave out this file")
    shape = (*stored, 1, 1)[:3]
    frames = stored[3:]
    if sum(size > 1 for size in frames) > 1:
        raise SuiteError(f"{path}: has frames along several axes (shape {stored}): save them along one")
    if image.get_data_dtype().kind not in "buif":
        raise SuiteError(f"{path}: voxels of type {image.get_data_dtype()} are no plain numbers: convert the file")
    grid = Grid(str(path), cast("tuple[int, int, int]", shape), _affine_in_mm(path, header), header)
    if not decode:
        return grid
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
    values = np.asarray(image.dataobj, dtype=_scaled_type(image.get_data_dtype()) if scaled else None)
    while file.read(1 << 20):  # to the end, where gzip's checksum stands
        pass
    values = values.reshape(*shape, *(size for size in frames if size > 1))
    kind = values.dtype.newbyteorder("=") if values.dtype.itemsize <= 8 else np.dtype(np.float64)
    values = values.astype(kind, copy=False)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = values.size - int(np.isfinite(values).sum())
        raise SuiteError(f"{path}: {count} voxels are NaN or infinite: repair or leave out this file")
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
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # The determinant of the unit directions: it tells a flat grid from a finely sampled one.
    if not np.isfinite(affine).all() or 0 in lengths or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise SuiteError(f"{path}: its affine cannot be inverted: repair the header's sform or qform")
    return affine


@cache
def _quiet_nibabel() -> None:
    """Oddities of headers are common and harmless; a line on standard error for each is neither."""
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two files have one shape, and affines whose entries differ by at most 0.001."""
    return a.shape == b.shape and bool(np.abs(a.affine - b.affine).max() <= _AFFINE_TOLERANCE)


def check_same_grid(image: Grid, mask: Grid) -> None:
    """Refuse a mask that does not lie on its image's grid.

    Raises:
        SuiteError: names both files and how they differ.
    """
    if same_grid(image, mask):
        return
    if image.shape != mask.shape:
        how = f"{_times(mask.shape)} voxels against {_times(image.shape)}"
    else:
        how = f"affines that differ by up to {np.abs(image.affine - mask.affine).max():.4g}"
    raise SuiteError(f"{mask.path}: the mask is not on the grid of its image {image.path}: {how}: resample it onto it")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def slice_axis(affine: NDArray[np.float64], plane: Plane) -> int:
    """The voxel axis (0, 1 or 2) that runs most nearly across the slices of a plane."""
    return int(_orientation(affine, plane)[:, 0].tolist().index(0))


def slice_spacing(affine: NDArray[np.float64], plane: Plane) -> tuple[float, float, float]:
    """Mm between slices, rows and columns of :func:`to_slices`."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    between, row, column = (float(lengths[axis]) for axis in np.argsort(_orientation(affine, plane)[:, 0]))
    return between, row, column


def to_slices(array: NDArray[Any], affine: NDArray[np.float64], plane: Plane) -> NDArray[Any]:
    """Turn a volume to slices of a plane: transposed and flipped, never resampled.

    Oblique volumes are cut along their own voxel axes, the ones nearest to the plane.

    Args:
        array: (X, Y, Z) or (X, Y, Z, C).
        affine: (4, 4) voxel index -> RAS mm.
        plane: slices run up in ``axial``, forward in ``coronal``, to the patient's right in ``sagittal``; see
            :data:`PLANES` for rows and columns.

    Returns:
        (S, H, W) or (S, H, W, C), a view.
    """
    from nibabel.orientations import apply_orientation

    return np.asarray(apply_orientation(array, _orientation(affine, plane)))


def from_slices(slices: NDArray[Any], affine: NDArray[np.float64], plane: Plane) -> NDArray[Any]:
    """Undo :func:`to_slices`: (S, H, W) or (S, H, W, C) -> (X, Y, Z) or (X, Y, Z, C), a view."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    back = ornt_transform(axcodes2ornt(PLANES[plane]), io_orientation(affine))
    return np.asarray(apply_orientation(slices, back))


def _orientation(affine: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    """(3, 2): for each voxel axis its place among slice, row and column, and its direction."""
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    return np.asarray(ornt_transform(io_orientation(affine), axcodes2ornt(PLANES[plane])))


def write_volume(path: Path, array: NDArray[Any], like: Grid) -> None:
    """Write an array as NIfTI with another file's geometry: voxel sizes, units, sform, qform and their codes.

    Nothing else of the source's header is taken: its free text may name the patient. The file appears whole or not at
    all.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file; its folder exists.
        array: (X, Y, Z) or (X, Y, Z, C) on the grid of ``like``. bool becomes uint8, 64-bit integers the smallest of
            uint8, int16 and int32 that holds them, float16 float32.
        like: the file whose grid it is.

    Raises:
        SuiteError: the file cannot be written.
        ValueError: another shape than that of ``like``, or values that NIfTI does not hold.
    """
    import nibabel

    if array.shape[:3] != like.shape or array.ndim > 4:
        raise ValueError(f"an array of shape {array.shape} does not lie on the grid {like.shape} of {like.path}")
    if not is_volume(path.name):
        raise ValueError(f"{path} is no NIfTI file by its name")
    array = _storable(array)
    header = type(like.header)()
    for name in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
                 "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"):  # fmt: skip
        header[name] = like.header[name]
    header["pixdim"][:4] = like.header["pixdim"][:4]  # the first is the handedness of the qform
    header.set_data_dtype(array.dtype)
    image = nibabel.Nifti2Image if type(like.header).sizeof_hdr == 540 else nibabel.Nifti1Image
    data = image(array, None, header=header).to_bytes()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(gzip.compress(data, 6, mtime=0) if path.name.lower().endswith(".gz") else data)
        part.replace(path)
    except OSError as error:
        raise SuiteError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype in (np.int64, np.uint64):
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        for kind in (np.uint8, np.int16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return array.astype(kind)
        raise ValueError(f"values from {low} to {high} do not fit into 32 bits")
    return array
