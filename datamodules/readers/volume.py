"""Volumes -> arrays with their geometry; and back onto the same grid as NIfTI.

Arrays keep the file's own voxel order (X, Y, Z); :func:`to_slices` turns them to anatomical
slices through the affine, :func:`from_slices` turns them back without loss.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.checked import check_grid, words_of
from datamodules.readers.format_table import by_name, suffixes_of
from datamodules.readers.grid import Grid as Grid
from datamodules.readers.grid import Volume as Volume
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.named_errors import named_errors
from datamodules.readers.unpack import read_to_end, unpacked
from scansuite.errors import SuiteError
from scansuite.files import replacing

Plane = Literal["axial", "coronal", "sagittal"]
# Where slices, rows and columns run to. Axial and coronal slices are seen as radiologists see them: the patient's left
# is on the right of the picture. Sagittal slices have the face on the left.
PLANES: dict[Plane, tuple[str, str, str]] = {
    "axial": ("S", "P", "L"),
    "coronal": ("A", "I", "L"),
    "sagittal": ("R", "I", "P"),
}
_AFFINE_TOLERANCE = 1e-3  # the largest difference of two affines' entries that counts as rounding


def suffixes() -> tuple[str, ...]:
    """Suffixes of volumes."""
    return (*suffixes_of("volume"), ".zip")


def is_volume(name: str) -> bool:
    """Whether a file is a volume by its name. A TIFF may be a flat image as well, and is none."""
    return may_be_volume(name) and not name.lower().endswith(suffixes_of("image"))


def may_be_volume(name: str) -> bool:
    """Whether a file can be read as a volume by its name: :func:`is_volume`, or a TIFF."""
    return name.lower().endswith(suffixes())


def is_series(path: Path) -> bool:
    """Whether a path is a volume in DICOM: a folder with a series, or a file with frames."""
    from datamodules.readers.dicom.header import is_dicom

    return not may_be_volume(path.name) and (path.is_dir() or is_dicom(path))


def read_grid(path: Path, limits: Limits = DEFAULT, *, labels: bool = False) -> Grid:
    """Read the header of a volume: where its voxels lie.

    Args:
        path: as in :func:`read_volume`, also for those below.
        limits: checked in the header.
        labels: the file is a mask.

    Raises:
        SuiteError: as in :func:`read_volume`, as far as the header tells.
    """
    return _read(path, limits, decode=False, labels=labels)


def read_volume(path: Path, limits: Limits = DEFAULT, *, labels: bool = False) -> Volume:
    """Read a volume: NIfTI-1, NIfTI-2, NRRD, MetaImage or a TIFF with pages, packed or not; or a DICOM series.

    The affine is in RAS mm whatever the file's convention and unit. In NIfTI it is the sform, else the qform, else what
    the voxel sizes give. One frame of a 4D file is taken for the volume itself; several frames (and the vectors of a 5D
    file) are the last axis. See :mod:`datamodules.readers.itk`, :mod:`datamodules.readers.pages` and
    :mod:`datamodules.readers.dicom.series` for the others.

    Args:
        path: a file with one of :func:`suffixes` (a ``.zip`` holds one volume), or a folder with a series.
        limits: checked in the header, and while packed files are unpacked.
        labels: the file is a mask: its values are neither turned, nor filled, nor coloured, nor spread over a range.

    Raises:
        SuiteError: no such file, of another kind, damaged or truncated (also in the checksum of ``.gz``), without
            voxels, too large, of a type that is no real number, with NaN or infinite values, or with an affine that
            cannot be inverted.
    """
    volume = cast("Volume", _read(path, limits, decode=True, labels=labels))
    values = volume.array
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = values.size - int(np.isfinite(values).sum())
        raise SuiteError(
            f"{path}: {count} voxels are NaN or infinite: repair or leave out this file", kind="not_finite"
        )
    return volume


def _read(path: Path, limits: Limits, *, decode: bool, labels: bool) -> Grid:
    if is_series(path):
        from datamodules.readers.dicom import series as dicom_series

        if decode:
            return dicom_series.read_volume(
                path, labels=labels, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes
            )
        return dicom_series.read_grid(path, limits.max_pixels, labels=labels)
    if not may_be_volume(path.name):
        raise SuiteError(f"{path}: not a volume by its name: expected one of {' '.join(suffixes())}")
    with (
        named_errors(path, "cannot be decoded as NIfTI") as attempt,
        unpacked(path, limits, suffixes_of("volume")) as opened,
    ):
        found = by_name(opened.name)
        assert found is not None  # the name of the file, or of the member that was chosen by it
        if not opened.packed and path.stat().st_size == 0:
            raise ValueError("the file is empty")
        attempt.failing, attempt.words = f"cannot be decoded as {found.name}", words_of(found)
        grid: Grid = found.decoder("volume")(path, opened, limits, decode=decode, labels=labels)
        check_grid(grid, found, limits, decoded=decode)
        if opened.packed and decode:
            read_to_end(opened.stream)
        return grid


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
    raise SuiteError(
        f"{mask.path}: the mask is not on the grid of its image {image.path}: {how}: resample it onto it",
        kind="grid_mismatch",
    )


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
    if not path.name.lower().endswith((".nii", ".nii.gz")):
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
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(data, 6, mtime=0) if path.name.lower().endswith(".gz") else data)


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
