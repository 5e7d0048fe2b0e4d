"""Where the frames of a DICOM segmentation lie on the grid of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom_geometry import Place
from datamodules.readers.dicom_slices import SeriesGrid
from datamodules.readers.grid import Grid

_ON_GRID = 0.1  # of a voxel: how far a frame may lie from the image's grid to be placed on it as it is


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a segmentation: which segment it shows (None: its values are segments), where, and which pixels."""

    segment: int | None
    place: Place | None
    instance: str | None
    values: NDArray[Any]  # (rows, columns): bool, or segment numbers


def on_grid(frame: Frame, image: Grid) -> tuple[NDArray[np.intp], ...] | None:
    """The voxels (i, j, k) of a frame's pixels, each (rows, columns); None where they do not lie on the grid."""
    rows, columns = frame.values.shape
    if frame.place is None:
        return _by_instance(frame, image)
    matrix = np.linalg.inv(image.affine) @ frame.place.affine(frame.place.normal)
    corners = np.array([[column, row, 0, 1] for column in (0, columns - 1) for row in (0, rows - 1)], float).T
    places = (matrix @ corners)[:3]
    steps = matrix[:3, :2]
    if np.abs(places - np.rint(places)).max() > _ON_GRID or np.abs(steps - np.rint(steps)).max() > 0.01:
        return None
    if not (np.abs(np.rint(steps)).sum(axis=0) == 1).all():
        return None
    down, across = np.mgrid[:rows, :columns]
    start = np.rint(matrix[:3, 3]).astype(np.intp)
    whole_steps = np.rint(steps).astype(np.intp)
    return tuple(start[axis] + whole_steps[axis, 0] * across + whole_steps[axis, 1] * down for axis in range(3))


def _by_instance(frame: Frame, image: Grid) -> tuple[NDArray[np.intp], ...]:
    slices = image.series.slices if isinstance(image, SeriesGrid) else ()
    index = next((index for index, one in enumerate(slices) if one.instance == frame.instance), None)
    if index is None or frame.instance is None:
        raise ValueError(f"a frame says neither where it lies nor which image of {image.path} it was drawn on")
    if frame.values.shape != (image.shape[1], image.shape[0]):
        raise ValueError(f"a frame without a position is not of the size of its image in {image.path}")
    down, across = np.mgrid[: image.shape[1], : image.shape[0]]
    return across, image.shape[1] - 1 - down, np.full_like(down, index)


def stack(frames: Sequence[Frame]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(rows, columns, slices) of a segment's frames and the affine (column, row, slice) -> RAS mm; gaps are empty."""
    first = frames[0].place
    assert first is not None  # frames without a place are put by instance
    normal = first.normal
    heights = np.array([one.place.origin @ normal for one in frames if one.place is not None])
    if any(
        one.values.shape != frames[0].values.shape
        or one.place is None
        or np.abs(one.place.across - first.across).max() > 1e-3
        or np.abs(one.place.down - first.down).max() > 1e-3
        for one in frames
    ):
        raise ValueError("its frames lie in different directions, and not on the grid of the image")
    steps = np.diff(np.unique(np.round(heights, 3)))
    step = float(steps.min()) if len(steps) else 1.0
    index = np.rint((heights - heights.min()) / step).astype(int)
    if np.abs((heights - heights.min()) / step - index).max() > 0.1 or index.max() > 10_000:
        raise ValueError("its frames lie at uneven steps, and not on the grid of the image")
    values = np.zeros((*frames[0].values.shape, int(index.max()) + 1), frames[0].values.dtype)
    for one, number_ in zip(frames, index, strict=True):
        values[:, :, number_] = one.values
    lowest = frames[int(heights.argmin())].place
    assert lowest is not None
    return values, lowest.affine(normal * step)


def resampled(stack: NDArray[Any], matrix: NDArray[np.float64], image: Grid) -> NDArray[Any]:
    """The pixel of a stack that each voxel of the image lies in; 0 outside."""
    to_stack = np.linalg.inv(matrix) @ image.affine
    result = np.zeros(image.shape, stack.dtype)
    i, j = (axis.ravel() for axis in np.mgrid[: image.shape[0], : image.shape[1]])
    for k in range(image.shape[2]):  # a slice at a time, so that coordinates stay small
        voxels = np.stack([i, j, np.full_like(i, k), np.ones_like(i)]).astype(float)
        # 1e-6: a voxel between two pixels goes to the same side everywhere.
        column, row, slice_ = np.floor((to_stack @ voxels)[:3] + 0.5 - 1e-6).astype(np.intp)
        inside = (column >= 0) & (column < stack.shape[1]) & (row >= 0) & (row < stack.shape[0])
        inside &= (slice_ >= 0) & (slice_ < stack.shape[2])
        plane = np.zeros(len(i), stack.dtype)
        plane[inside] = stack[row[inside], column[inside], slice_[inside]]
        result[:, :, k] = plane.reshape(image.shape[:2])
    return result
