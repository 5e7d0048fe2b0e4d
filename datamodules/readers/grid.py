"""Grid of the voxels of a file, and volumes: what every reader of volumes returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.limits import Limits

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header


@dataclass(frozen=True, eq=False)
class Grid:
    """Grid of the voxels of a file.

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


def geometry_header(shape: Sequence[int], affine: NDArray[np.float64]) -> Nifti1Header:
    """The NIfTI header that a file of another format would have: its grid, in mm, and nothing else.

    Args:
        shape: (X, Y, Z), or (X, Y, Z, C) with frames.
        affine: (4, 4) voxel index -> RAS mm.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    header = (Nifti1Header if max(shape) < 2**15 else Nifti2Header)()
    header.set_data_shape(tuple(shape))
    header.set_qform(affine, code=1)  # 1: of a scanner; a sheared affine loses its shear here, and has it in the sform
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm")
    return header


def volume_of(path: str, array: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
    """The volume of a format that has no NIfTI header.

    Args:
        path: of the file.
        array: (X, Y, Z) or (X, Y, Z, C).
        affine: (4, 4) voxel index -> RAS mm.
    """
    x, y, z = array.shape[:3]
    return Volume(str(path), (x, y, z), affine, geometry_header(array.shape, affine), array)


def is_invertible(affine: NDArray[np.float64]) -> bool:
    """Whether an affine gives each voxel a place of its own."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # The determinant of the unit directions: it tells a flat grid from a finely sampled one.
    return bool(np.isfinite(affine).all() and 0 not in lengths and abs(np.linalg.det(affine[:3, :3] / lengths)) >= 1e-3)


def check_volume(shape: Sequence[int], itemsize: int, limits: Limits) -> None:
    """Refuse a volume that is larger than allowed, in a slice or as a whole.

    Args:
        shape: (X, Y, Z, ...) voxels.
        itemsize: bytes of a voxel once it is decoded.
        limits: what is allowed.

    Raises:
        ValueError: says how large it is, and which flag allows it.
    """
    largest, second = (*sorted(map(int, shape[:3]), reverse=True), 1)[:2]
    limits.check_pixels(largest, second)
    limits.check_bytes(math.prod(map(int, shape)) * itemsize)
