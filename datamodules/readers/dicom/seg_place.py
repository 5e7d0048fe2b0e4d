"""Placing of the frames of a DICOM segmentation on the grid of an image.

A frame is a slab: it stands for what lies nearer to it than to where the next frame would be. How far that is comes
from PixelMeasures (PS3.3 C.7.6.16.2.1), since frames without a segment are usually left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom.geometry import Measures, Place
from datamodules.readers.dicom.slices import SeriesGrid
from datamodules.readers.grid import Grid

if TYPE_CHECKING:
    import SimpleITK

_ON_GRID = 0.1  # of a voxel: how far a frame may lie from the image's grid to be placed on it as it is
_AS_THICK = 0.05  # of a slice: how much a slab may be thicker or thinner than one to be placed on it as it is
_SAME = 0.01  # mm: nearer than this is one height
_TIE = 1e-6  # of a pixel: a voxel between two pixels goes to the same side everywhere


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a segmentation.

    Attributes:
        number: in the file, from 0.
        segment: which it shows; None: its values are segments.
        place: where it lies, if the header says.
        instance: SOPInstanceUID of the image that it was drawn on, if the header says.
        measures: its thickness, and the spacing of frames.
        values: (rows, columns): bool, or segment numbers.
    """

    number: int
    segment: int | None
    place: Place | None
    instance: str | None
    measures: Measures
    values: NDArray[Any]


class Slab(NamedTuple):
    """Thickness of frames along their normal.

    Attributes:
        step: mm from frame to frame, those that were left out too.
        own: the step is the thickness of the frames themselves, as nothing says how far apart they lie.
        said: the header says anything of it.
    """

    step: float
    own: bool
    said: bool


def slab_of(group: Sequence[Frame], frames: Sequence[Frame]) -> Slab:
    """Thickness of the frames of a segment, from those of all segments that lie in their direction.

    SpacingBetweenSlices counts where the frames lie at multiples of it; else the smallest distance of two frames, or
    SliceThickness where that fits in between. A lone frame has its own thickness, or fills the step to its neighbours
    that were left out, if that is more.

    Args:
        group: frames of one segment.
        frames: all frames of the file.
    """
    first = next((one.place for one in group if one.place is not None), None)
    if first is None:
        return Slab(1.0, own=False, said=False)
    alike = [one for one in frames if one.place is not None and _parallel(one.place, first)]
    spacing, thickness = (
        _common([one.measures.spacing for one in alike]),
        _common([one.measures.thickness for one in alike]),
    )
    heights = np.sort([one.place.origin @ first.normal for one in alike if one.place is not None])
    gaps = np.diff(heights)
    gaps = gaps[gaps > _SAME]
    if len(gaps) == 0:
        step = max(thickness or 0.0, spacing or 0.0)
        return Slab(step or 1.0, own=step == thickness, said=step > 0)
    smallest = float(gaps.min())
    if spacing is not None and _fits(heights, spacing):
        return Slab(spacing, own=False, said=True)
    if spacing is None and thickness is not None and smallest > 1.5 * thickness and _fits(heights, thickness):
        return Slab(thickness, own=True, said=True)
    return Slab(smallest, own=False, said=spacing is not None or thickness is not None)


def _parallel(one: Place, other: Place) -> bool:
    return bool(max(np.abs(one.across - other.across).max(), np.abs(one.down - other.down).max()) <= 1e-3)


def _common(lengths: Sequence[float | None]) -> float | None:
    """The length that all frames have; None where one has another or none."""
    known = [length for length in lengths if length is not None]
    return known[0] if len(known) == len(lengths) and max(known) - min(known) < 1e-3 else None


def _fits(heights: NDArray[np.float64], step: float) -> bool:
    """Whether heights are multiples of a step, from the lowest."""
    places = (heights - heights[0]) / step
    return bool(np.abs(places - np.rint(places)).max() <= _ON_GRID)


class OnGrid(NamedTuple):
    """A frame whose pixels are voxels of an image.

    Attributes:
        start: (3,) voxel of its first pixel.
        steps: (3, 2) voxels from column to column and from row to row.
    """

    start: NDArray[np.intp]
    steps: NDArray[np.intp]

    def voxels(self, frame: Frame) -> tuple[NDArray[np.intp], ...]:
        """(i, j, k) of the pixels of a frame that are not 0."""
        down, across = np.nonzero(frame.values > 0)
        return tuple(
            start + right * across + below * down for start, (right, below) in zip(self.start, self.steps, strict=True)
        )


def on_grid(frame: Frame, image: Grid, slab: Slab) -> OnGrid | None:
    """Place of a frame on the grid of an image.

    Returns:
        None where its pixels do not lie on the grid, or it is not as thick as one slice of it.

    Raises:
        ValueError: the frame has no place, and was drawn on none of the images.
    """
    rows, columns = frame.values.shape
    if frame.place is None:
        return _by_instance(frame, image)
    matrix = np.linalg.inv(image.affine) @ frame.place.affine(frame.place.normal * slab.step)
    corners = np.array([[column, row, 0, 1] for column in (0, columns - 1) for row in (0, rows - 1)], float).T
    places = (matrix @ corners)[:3]
    steps = matrix[:3, :2]
    if np.abs(places - np.rint(places)).max() > _ON_GRID or np.abs(steps - np.rint(steps)).max() > 0.01:
        return None
    whole_steps = np.rint(steps).astype(np.intp)
    if not (np.abs(whole_steps).sum(axis=0) == 1).all() or np.abs(whole_steps).sum(axis=1).max() > 1:
        return None
    across_slices = int(np.abs(whole_steps).sum(axis=1).argmin())
    slices = abs(matrix[across_slices, 2])
    if slab.said and abs(slices - 1) > _AS_THICK and not (slab.own and _is_of(frame, image)):
        return None
    return OnGrid(np.rint(matrix[:3, 3]).astype(np.intp), whole_steps)


def _is_of(frame: Frame, image: Grid) -> bool:
    """Whether a frame is as thick as the image it was drawn on, so that it is of that slice, though slices overlap."""
    slices = image.series.slices if isinstance(image, SeriesGrid) else ()
    drawn_on = next((one for one in slices if one.instance == frame.instance), None)
    return drawn_on is not None and _common([drawn_on.measures.thickness, frame.measures.thickness]) is not None


def _by_instance(frame: Frame, image: Grid) -> OnGrid:
    slices = image.series.slices if isinstance(image, SeriesGrid) else ()
    index = next((index for index, one in enumerate(slices) if one.instance == frame.instance), None)
    if index is None or frame.instance is None:
        raise ValueError(f"a frame says neither where it lies nor which image of {image.path} it was drawn on")
    if frame.values.shape != (image.shape[1], image.shape[0]):
        raise ValueError(f"a frame without a position is not of the size of its image in {image.path}")
    return OnGrid(np.array([0, image.shape[1] - 1, index], np.intp), np.array([[1, 0], [0, -1], [0, 0]], np.intp))


def refuse_twice(frames: Sequence[Frame], positions: Sequence[tuple[int, ...]]) -> None:
    """Refuse two frames of a segment at one position: which of them is meant?

    Raises:
        ValueError: names the first two.
    """
    seen: dict[tuple[int, ...], Frame] = {}
    for frame, position in zip(frames, positions, strict=True):
        other = seen.setdefault(position, frame)
        if other is not frame:
            what = "" if frame.segment is None else f" of segment {frame.segment}"
            raise ValueError(f"its frames {other.number} and {frame.number}{what} lie at one position: keep one")


def stack(frames: Sequence[Frame], step: float) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The frames of a segment as a volume.

    Args:
        frames: with a place.
        step: mm from slice to slice.

    Returns:
        (rows, columns, slices), from the highest along the normal as highdicom orders them, and the affine (column,
        row, slice) -> RAS mm. Slices without a frame are empty.

    Raises:
        ValueError: two at one position; or they do not lie one behind the other, at multiples of the step.
    """
    places = [one.place for one in frames if one.place is not None]
    if len(places) < len(frames):
        raise ValueError("some of its frames say where they lie, and others do not")
    first = places[0]
    if any(
        one.values.shape != frames[0].values.shape
        or not _parallel(place, first)
        or np.abs(np.subtract(place.spacing, first.spacing)).max() > 1e-3
        for one, place in zip(frames, places, strict=True)
    ):
        raise ValueError("its frames lie in different directions, and not on the grid of the image")
    origins = np.array([place.origin for place in places])
    heights = origins @ first.normal
    distance = (heights.max() - heights) / step
    index = np.rint(distance).astype(int)
    if np.abs(distance - index).max() > _ON_GRID or index.max() > 10_000:
        raise ValueError("its frames lie at uneven steps, and not on the grid of the image")
    refuse_twice(frames, [(int(one),) for one in index])
    start, end = origins[index.argmin()], origins[index.argmax()]
    # Not always along the normal: scanners may tilt the gantry.
    leads = (end - start) / index.max() if index.max() else first.normal * -step
    if np.linalg.norm(origins - start - index[:, None] * leads, axis=1).max() > _ON_GRID * min(*first.spacing, step):
        raise ValueError("its frames do not lie one behind the other, and not on the grid of the image")
    values = np.zeros((*frames[0].values.shape, int(index.max()) + 1), frames[0].values.dtype)
    for one, place_ in zip(frames, index, strict=True):
        values[:, :, place_] = one.values
    return values, places[int(index.argmin())].affine(leads)


def resampled(values: NDArray[Any], matrix: NDArray[np.float64], image: Grid) -> NDArray[Any]:
    """The pixel of a stack that each voxel of the image lies in; 0 outside.

    Args:
        values: (rows, columns, slices).
        matrix: (4, 4): (column, row, slice) -> RAS mm.
        image: whose voxels are asked for.
    """
    import SimpleITK

    stored = values.astype(np.uint8) if values.dtype == np.bool_ else values
    moving = SimpleITK.GetImageFromArray(np.ascontiguousarray(stored.transpose(2, 0, 1)))
    shifted = matrix.copy()
    shifted[:3, 3] -= matrix[:3, :3].sum(axis=1) * _TIE
    _lay(moving, shifted)
    empty = SimpleITK.Image(1, 1, 1, SimpleITK.sitkUInt8)
    _lay(empty, image.affine)
    found = SimpleITK.Resample(
        moving,
        image.shape,
        SimpleITK.Transform(3, SimpleITK.sitkIdentity),
        SimpleITK.sitkNearestNeighbor,
        empty.GetOrigin(),
        empty.GetSpacing(),
        empty.GetDirection(),
    )
    return np.asarray(SimpleITK.GetArrayFromImage(found).transpose(2, 1, 0), dtype=values.dtype)


def _lay(image: SimpleITK.Image, affine: NDArray[np.float64]) -> None:
    """Give an image the place that an affine in RAS mm says; ITK's is LPS."""
    matrix = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:, 3].tolist())
