"""Small NIfTI files of every awkward kind, written for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray

AXIAL = np.diag([0.8, 0.9, 3.0, 1.0])


def turned(degrees: tuple[float, float, float], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """An affine with its axes turned about x, y and z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        first, second = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle),
        )  # fmt: skip
        turn = step @ turn
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = (-20.0, 13.0, 7.5)
    return affine


# Name -> affine: what scanners and converters write.
AFFINES: dict[str, NDArray[np.float64]] = {
    "ras": AXIAL,
    "lps": np.diag([-0.8, -0.9, 3.0, 1.0]),
    "upside_down": np.diag([0.8, -0.9, -3.0, 1.0]),
    "sagittal_first": np.array([[0, 0, 4.0, -5], [-1.0, 0, 0, 3], [0, -1.5, 0, 9], [0, 0, 0, 1]]),
    "oblique": turned((25.0, -15.0, 10.0), (0.7, 1.1, 2.5)),
    "oblique_flipped": turned((20.0, 170.0, -30.0), (1.0, 0.5, 5.0)),
}


def write_nifti(
    path: Path,
    array: NDArray[Any],
    affine: NDArray[np.float64] = AXIAL,
    *,
    unit: str = "mm",
    scaling: tuple[float, float] | None = None,
    version: int = 1,
) -> Path:
    """Write with plain nibabel; ``scaling`` is the slope and intercept that the values of ``array`` are stored with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = (nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image)(array, affine)
    image.header.set_xyzt_units(unit)
    image.header["descrip"] = b"Doe^Jane"
    if scaling is not None:
        image.header.set_slope_inter(*scaling)
    nibabel.save(image, path)
    return path


def itk_image(array: NDArray[Any], affine: NDArray[np.float64]) -> SimpleITK.Image:
    """What ITK has in memory for an array (X, Y, Z) on an affine in RAS mm."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image
