"""DICOM series -> volumes: files of a folder, or frames of one file, put in order by where they lie.

The volume and its affine are those that ``dcm2niix`` makes: rows run up, slices follow the normal of their plane. A
mask drawn on its NIfTI files therefore fits the series.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom.geometry import measures, place
from datamodules.readers.dicom.header import (
    MAX_BYTES,
    MAX_PIXELS,
    Opened,
    frame_item,
    image_facts,
    is_dicom,
    number,
    opened,
    shows_scan,
    text,
)
from datamodules.readers.dicom.image import check_bytes, frame_values
from datamodules.readers.dicom.order import check_alike, check_steps
from datamodules.readers.dicom.slices import Series, SeriesGrid, Slice
from datamodules.readers.grid import Volume, geometry_header
from datamodules.readers.listing import entries, paths_below
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)


def series_folders(folder: Path) -> list[Path]:
    """The folders at or below one that hold DICOM files, sorted."""
    found: dict[Path, bool] = {}
    for file in paths_below(folder):
        found[file.parent] = found.get(file.parent, False) or is_dicom(file)
    return sorted(parent for parent, holds in found.items() if holds)


def may_be_volume(folder: Path) -> bool:
    """Whether some DICOM file in a folder is an image of a scan that is no localiser, or cannot be read."""
    for file in filter(_may_be_image, (Path(entry.path) for entry in entries(folder))):
        try:
            with opened(file) as source:
                kinds = {str(kind).upper() for kind in source.dataset.get("ImageType") or ()}
                if shows_scan(source) and "LOCALIZER" not in kinds:
                    return True
        except SuiteError:
            return True  # is said when the case's turn comes
    return False


def find_series(path: Path, max_pixels: int = MAX_PIXELS) -> list[Series]:
    """Read the headers of all DICOM images in a folder and below, and group them by SeriesInstanceUID.

    Files that are not DICOM, segmentations, doses, and objects without an image (reports, plans) are passed over.

    Args:
        path: a folder, or one file.
        max_pixels: largest rows times columns of an image.

    Raises:
        SuiteError: a header cannot be read; the file is named.
    """
    files = [path] if path.is_file() else list(filter(_may_be_image, paths_below(path)))
    groups: dict[str, list[Slice]] = {}
    about: dict[str, tuple[str, str | None]] = {}
    for file in files:
        with opened(file) as source:
            header = source.dataset
            if not shows_scan(source):
                continue
            uid = text(header, "SeriesInstanceUID") or ""
            groups.setdefault(uid, []).extend(_slices(source, max_pixels))
            words = f"series {text(header, 'SeriesNumber') or uid or '?'} ({text(header, 'Modality') or '?'}"
            about.setdefault(uid, (words, text(header, "FrameOfReferenceUID")))
    return [
        Series(uid, f"{about[uid][0]}, {len(slices)} images)", about[uid][1], tuple(slices))
        for uid, slices in groups.items()
    ]


def read_grid(path: Path, max_pixels: int = MAX_PIXELS, *, labels: bool = False) -> SeriesGrid:
    """Put the headers of a series in order: where its voxels lie.

    Args:
        path: a folder with one series of images (localisers beside it are passed over), or one file with frames.
        max_pixels: largest rows times columns of an image.
        labels: the series is a mask, which may have a palette.

    Raises:
        SuiteError: no image; several series; a localiser; an image without position, of another size, direction,
            spacing, time point, echo or frame of reference; two at one position; a missing one. Names the files.
    """
    if not path.exists():
        raise SuiteError(f"{path}: no such file or folder")
    series = _only_series(path, find_series(path, max_pixels))
    check_alike(path, series, labels=labels)
    first = series.slices[0].place
    assert first is not None  # check_alike has seen to it
    normal = first.normal
    ordered = sorted(series.slices, key=lambda one: float(one.place.origin @ normal) if one.place is not None else 0.0)
    step = check_steps(path, series.label, ordered, normal)
    lowest = ordered[0].place
    assert lowest is not None
    facts = ordered[0].facts
    affine = lowest.affine(step)
    affine[:3, 3] += affine[:3, 1] * (facts.rows - 1)  # rows are turned, so that they run up
    affine[:3, 1] *= -1
    shape = (facts.columns, facts.rows, len(ordered))
    ordered_series = Series(series.uid, series.label, series.reference, tuple(ordered))
    return SeriesGrid(str(path), shape, affine, geometry_header(shape, affine), ordered_series)


def read_volume(
    path: Path, *, labels: bool = False, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> Volume:
    """Read a series as a volume.

    Args:
        path: as in :func:`read_grid`.
        labels: the series is a mask; see :func:`datamodules.readers.dicom.image.read`.
        max_pixels: largest rows times columns of an image.
        max_bytes: largest size of all images as stored and unpacked.

    Returns:
        (X, Y, Z) = (columns, rows from the lowest, slices), in the quantity of
        :func:`datamodules.readers.dicom.image.read`.

    Raises:
        SuiteError: as in :func:`read_grid`; or an image is damaged; or the volume is larger than allowed.
    """
    grid = read_grid(path, max_pixels, labels=labels)
    slices = grid.series.slices
    try:
        check_bytes(slices[0].facts, len(slices), max_bytes)
    except ValueError as error:
        raise SuiteError(f"{path}: {error}") from None
    planes: list[NDArray[Any] | None] = [None] * len(slices)
    of_file: dict[Path, list[int]] = {}
    for index, one in enumerate(slices):
        of_file.setdefault(one.path, []).append(index)
    for file, indices in of_file.items():
        with opened(file, max_bytes) as source:
            for index in indices:
                one = slices[index]
                planes[index] = frame_values(source, one.facts, one.frame, max_bytes, labels=labels)
    stacked = np.stack([plane for plane in planes if plane is not None])
    return Volume(grid.path, grid.shape, grid.affine, grid.header, stacked[:, ::-1, :].transpose(2, 1, 0))


def _may_be_image(file: Path) -> bool:
    return file.name != "DICOMDIR" and is_dicom(file)


def _slices(source: Opened, max_pixels: int) -> list[Slice]:
    header = source.dataset
    facts = image_facts(source, max_pixels)
    kinds = {str(kind).upper() for kind in header.get("ImageType") or ()}
    localizer = "LOCALIZER" in kinds
    instance, reference = text(header, "SOPInstanceUID") or "", text(header, "FrameOfReferenceUID")
    if facts.frames > max(1, source.available * 8):  # a frame takes a bit at least
        raise ValueError(f"it says that it has {facts.frames} frames, more than there is room for")
    found = []
    for frame in range(facts.frames):
        time = number(frame_item(header, "FrameContentSequence", frame), "TemporalPositionIndex")
        time = number(header, "TemporalPositionIdentifier") if time is None else time
        echo = number(frame_item(header, "MREchoSequence", frame), "EffectiveEchoTime")
        echo = number(header, "EchoNumbers") if echo is None else echo
        where, deep = place(header, frame), measures(header, frame)
        found.append(Slice(source.path, frame, where, facts, instance, localizer, deep, reference, time, echo))
    return found


def _only_series(path: Path, found: Sequence[Series]) -> Series:
    images = [one for one in found if not all(slice_.localizer for slice_ in one.slices)]
    if not found:
        raise SuiteError(f"{path}: no DICOM images in it")
    if not images:
        raise SuiteError(f"{path}: {found[0].label} is a localiser, not a volume: leave it out")
    if len(images) > 1:
        labels = ", ".join(one.label for one in images[:5]) + (", ..." if len(images) > 5 else "")
        raise SuiteError(f"{path}: has {len(images)} series ({labels}): put each into a folder of its own")
    if len(found) > 1:
        others = ", ".join(one.label for one in found if one is not images[0])
        _say_passed_over(path, others)
    return images[0]


@cache
def _say_passed_over(path: Path, others: str) -> None:
    """Once: headers are read several times."""
    log.info("%s: localisers are passed over: %s", path, others)
