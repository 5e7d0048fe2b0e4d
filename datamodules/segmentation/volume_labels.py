"""Masks of volumes: files on the image's own grid, or DICOM segmentations that are put on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.listing import paths_below
from datamodules.readers.volume import Grid, Volume, check_same_grid, is_volume, read_grid, read_volume
from datamodules.samples.label_values import LabelValues
from datamodules.segmentation.masks import seen_values
from scansuite.errors import SuiteError


@lru_cache(maxsize=65536)
def is_seg(file: Path) -> bool:
    """Whether a mask is a DICOM segmentation."""
    from datamodules.readers.dicom.seg import is_segmentation

    return not is_volume(file.name) and is_segmentation(file)


def label_file(path: Path) -> Path:
    """The mask that is meant: a folder stands for the one DICOM segmentation in it; anything else for itself.

    Raises:
        SuiteError: the folder has several segmentations.
    """
    if not path.is_dir():
        return path
    found = [file for file in paths_below(path) if is_seg(file)]
    if len(found) > 1:
        raise SuiteError(f"{path}: has {len(found)} DICOM segmentations ({found[0].name}, {found[1].name}): leave one")
    return found[0] if found else path


def check_label(image: Grid, file: Path, limits: Limits = DEFAULT) -> None:
    """Refuse a mask that is not on its image's grid; a DICOM segmentation is put on it.

    Raises:
        SuiteError: names both files.
    """
    if not is_seg(file):
        check_same_grid(image, read_grid(file, limits, labels=True))


def read_label(file: Path, image: Grid, values: LabelValues, limits: Limits = DEFAULT) -> Volume:
    """Read a mask as label values on its image's grid, (X, Y, Z).

    Args:
        file: NIfTI, a DICOM series of label values, or DICOM-SEG, whose segments are found by the names of the classes,
            else by their numbers (:func:`datamodules.readers.dicom.seg.read_on_grid`).
        image: where the image's voxels lie.
        values: the classes and the values that stand for them.
        limits: of the file.

    Raises:
        SuiteError: the file cannot be read or placed.
    """
    if not is_seg(file):
        return read_volume(file, limits, labels=True)
    from datamodules.readers.dicom.seg import read_on_grid

    meant = {name: several[0] for name, several in zip(values.names, values.values, strict=True)}
    return read_on_grid(file, image, meant, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)


def seen_labels(files: Sequence[Path], ignore: int | None, limits: Limits = DEFAULT) -> dict[str, int]:
    """Classes of masks for which nobody names them: name -> label value, the background first.

    Segments of DICOM segmentations are classes by their labels, since their numbers may differ from file to file;
    values of other masks are classes by themselves.

    Args:
        files: the masks.
        ignore: label value that is no class.
        limits: of the files.

    Raises:
        SuiteError: a value is no whole number or negative, or masks are DICOM segmentations and other files.
    """
    from datamodules.readers.dicom.seg import segment_labels

    segments = [segment_labels(file) for file in files if is_seg(file)]
    numbers: set[int] = {0}
    for file in files:
        if not is_seg(file):
            numbers |= seen_values(read_volume(file, limits, labels=True).array, str(file), ignore)
    if ignore is not None:
        numbers.discard(ignore)
    if segments and len(segments) < len(files):
        raise SuiteError(
            f"{next(file for file in files if is_seg(file))}: masks are DICOM segmentations and other files: name the "
            "classes with --data.classes"
        )
    if not segments:
        return {"background" if value == 0 else str(value): value for value in sorted(numbers)}
    names: dict[str, str] = {}
    for labels in segments:
        for number, label in labels.items():
            if number > 0:
                names.setdefault(label.casefold(), label)
    return {"background": 0, **{label: value for value, label in enumerate(names.values(), start=1)}}
