"""DICOM segmentations (DICOM-SEG, PS3.3 A.51) -> label values on the grid of an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom.geometry import measures, place
from datamodules.readers.dicom.header import (
    MAX_BYTES,
    MAX_PIXELS,
    SEGMENTATIONS,
    Facts,
    Opened,
    frame_item,
    image_facts,
    is_dicom,
    items,
    number,
    opened,
    text,
    whole,
)
from datamodules.readers.dicom.pixels import stored_frame
from datamodules.readers.dicom.seg_place import Frame, on_grid, refuse_twice, resampled, slab_of, stack
from datamodules.readers.dicom.slices import SeriesGrid
from datamodules.readers.grid import Grid, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_LABEL_MAP = SEGMENTATIONS[1]


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM segmentation."""
    if not path.is_file() or not is_dicom(path):
        return False
    with opened(path) as source:
        return text(source.dataset, "SOPClassUID") in SEGMENTATIONS


def segment_labels(path: Path) -> dict[int, str]:
    """Number -> label of the segments in a file.

    Raises:
        SuiteError: no segmentation, or one that cannot be read.
    """
    with opened(path) as source:
        return _labels(source)


def read_on_grid(
    path: Path,
    image: Grid,
    values: Mapping[str, int] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> Volume:
    """Read a segmentation as label values on an image's grid.

    Frames that lie on the image's grid and are as thick as its slices are put there as they are; others are resampled
    by nearest neighbour (:mod:`datamodules.readers.dicom.seg_place`). A frame without a position goes to the image that
    it was drawn on. What lies outside the image is cut off. Fractions count from one half.

    Args:
        path: the segmentation.
        image: where the voxels of the image lie.
        values: label value by class name. Segments are found by their label, in whatever case; where none of the labels
            is a class, or without ``values``, the label value is the number of the segment.
        max_pixels: largest rows times columns of a frame.
        max_bytes: largest size of the unpacked frames.

    Returns:
        (X, Y, Z) of uint8 or uint16; 0 where there is no segment.

    Raises:
        SuiteError: no segmentation; damaged; of another frame of reference than the image; segments that overlap; a
            segment that no class is named for; a frame that cannot be placed; two of a segment at one position.
    """
    with opened(path, max_bytes) as source:
        labels = _labels(source)
        _check_reference(source, image)
        facts = image_facts(source, max_pixels)
        frames = _frames(source, facts, max_bytes)
        meant = _meaning(labels, values)
        highest = max(meant.values(), default=0)
        if not 0 <= min(meant.values(), default=0) <= highest < 2**16:
            raise ValueError("label values must lie between 0 and 65535")
        array = np.zeros(image.shape, np.uint8 if highest < 256 else np.uint16)
        used = np.zeros(image.shape, np.uint16)  # the segment a voxel is of, so that an overlap is seen
        for segment in dict.fromkeys(frame.segment for frame in frames):
            group = [frame for frame in frames if frame.segment == segment]
            slab = slab_of(group, frames)
            places = [on_grid(frame, image, slab) for frame in group]
            placed = [where for where in places if where is not None]
            if len(placed) < len(group):
                pixels = resampled(*stack(group, slab.step), image)
                _put(array, used, segment, pixels, np.nonzero(pixels), meant, labels)
                continue
            refuse_twice(group, [tuple(map(int, where.start)) for where in placed])
            for frame, where in zip(group, placed, strict=True):
                _put(array, used, segment, frame.values, where.voxels(frame), meant, labels)
    return Volume(str(path), image.shape, image.affine, image.header, array)


def _labels(source: Opened) -> dict[int, str]:
    header = source.dataset
    if text(header, "SOPClassUID") not in SEGMENTATIONS:
        raise ValueError("it is no DICOM segmentation")
    found = {
        int(one): text(item, "SegmentLabel") or str(one)
        for item in items(header, "SegmentSequence")
        if (one := whole(item, "SegmentNumber")) is not None
    }
    if not found:
        raise ValueError("it has no segments (0062,0002)")
    return found


def _check_reference(source: Opened, image: Grid) -> None:
    reference = text(source.dataset, "FrameOfReferenceUID")
    theirs = image.series.reference if isinstance(image, SeriesGrid) else None
    if reference and theirs and reference != theirs:
        raise ValueError(f"its frame of reference is not that of the image {image.path}: it was drawn on another scan")


def _meaning(labels: Mapping[int, str], values: Mapping[str, int] | None) -> dict[int, int]:
    """The label value of each segment."""
    named = {name.casefold(): value for name, value in (values or {}).items()}
    labels = {segment: label for segment, label in labels.items() if segment > 0}  # 0 is the background of label maps
    if not any(label.casefold() in named for label in labels.values()):
        return {segment: segment for segment in labels}
    for segment, label in labels.items():
        if label.casefold() not in named:
            raise ValueError(f"its segment {segment} {label!r} is no class: name it in --data.classes")
    return {segment: named[label.casefold()] for segment, label in labels.items()}


def _frames(source: Opened, facts: Facts, max_bytes: int) -> list[Frame]:
    header = source.dataset
    size = facts.frame_pixels * max(1, facts.bits_allocated // 8) * facts.frames
    if size > max_bytes:
        raise ValueError(f"{facts.frames} frames unpack to {size} bytes, more than the {max_bytes} allowed")
    label_map = text(header, "SOPClassUID") == _LABEL_MAP or text(header, "SegmentationType") == "LABELMAP"
    half = 0.5 * (number(header, "MaximumFractionalValue") or 1)
    fractional = text(header, "SegmentationType") == "FRACTIONAL"
    found = []
    for index in range(facts.frames):
        stored = stored_frame(source, facts, index, max_bytes)
        segment = (
            None
            if label_map
            else whole(frame_item(header, "SegmentIdentificationSequence", index), "ReferencedSegmentNumber")
        )
        if segment is None and not label_map:
            raise ValueError(f"frame {index} does not say which segment it shows (0062,000B)")
        pixels = stored if label_map else stored >= half if fractional else stored > 0
        where, drawn_on = place(header, index), _drawn_on(header, index)
        found.append(Frame(index, segment, where, drawn_on, measures(header, index), pixels))
    return found


def _drawn_on(header: Dataset, index: int) -> str | None:
    for source in items(frame_item(header, "DerivationImageSequence", index), "SourceImageSequence")[:1]:
        return text(source, "ReferencedSOPInstanceUID")
    return None


def _put(
    array: NDArray[Any],
    used: NDArray[np.uint16],
    segment: int | None,
    values: NDArray[Any],
    places: tuple[NDArray[np.intp], ...],
    meant: Mapping[int, int],
    labels: Mapping[int, str],
) -> None:
    """Write the pixels that are not 0 at their places (i, j, k); the values are segments where ``segment`` is None."""
    inside = np.logical_and.reduce(
        [(axis >= 0) & (axis < size) for axis, size in zip(places, array.shape, strict=True)]
    )
    places = tuple(axis[inside] for axis in places)
    segments = values[values > 0][inside].astype(np.int64) if segment is None else np.array([segment])
    for one in np.unique(segments):
        if int(one) not in meant:
            raise ValueError(f"it shows segment {one}, which it does not describe (0062,0002)")
        chosen = places if segment is not None else tuple(axis[segments == one] for axis in places)
        others = used[chosen]
        both = (others > 0) & (others != one)
        if both.any():
            other = int(others[both][0])
            raise ValueError(
                f"its segments {labels.get(other, other)!r} and {labels[int(one)]!r} overlap: "
                "a mask has one class a voxel; keep one of them there"
            )
        used[chosen] = one
        array[chosen] = meant[int(one)]
