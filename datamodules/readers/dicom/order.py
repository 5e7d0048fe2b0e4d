"""Order of a DICOM series: whether its images make a volume, alike and at equal steps. What is not is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.readers.dicom.geometry import Place
    from datamodules.readers.dicom.slices import Series, Slice

_ALIKE = 1e-3  # cosines and mm in which images of one series may differ by rounding
_UNEVEN = 0.1  # of a step: how far an image may lie from its place at equal steps
_SAME = 0.01  # of a step: nearer than this is the same position


def check_alike(path: Path, series: Series, *, labels: bool = False) -> None:
    """Refuse a series with an image that differs from the others in size, kind, direction or spacing.

    Args:
        path: for messages.
        series: its images.
        labels: they are masks: the indices of a palette will do.

    Raises:
        SuiteError: names the file.
    """
    slices = series.slices
    scout = next((one for one in slices if one.localizer), None)
    if scout is not None:
        raise SuiteError(f"{path}: {scout.name} is a localiser among the images of {series.label}: take it away")
    lost = [one for one in slices if one.place is None]
    if lost:
        raise SuiteError(
            f"{path}: {lost[0].name} says not where it lies (ImagePositionPatient, ImageOrientationPatient, "
            f"PixelSpacing; {len(lost)} of {len(slices)} images): leave this series out, or use its images one by one"
        )
    for what, values in (
        ("frames of reference", [one.reference for one in slices]),
        ("time points", [one.time for one in slices]),
        ("echoes", [one.echo for one in slices]),
    ):
        _check_one(path, series, what, values)
    sizes = [(one.facts.columns, one.facts.rows) for one in slices]
    usual = Counter(sizes).most_common(1)[0][0]
    for one, size in zip(slices, sizes, strict=True):
        if size != usual:
            raise SuiteError(
                f"{path}: {one.name} has {size[0]} x {size[1]} pixels, but most of {series.label} have {usual[0]} x "
                f"{usual[1]}: take it away"
            )
        if one.facts.samples != 1 or (one.facts.photometric == "PALETTE COLOR" and not labels):
            raise SuiteError(f"{path}: {one.name} is a colour image; volumes are grey")
    usual_place = _usual([one.place for one in slices if one.place is not None])
    for one in slices:
        assert one.place is not None
        turned = max(
            np.abs(one.place.across - usual_place.across).max(), np.abs(one.place.down - usual_place.down).max()
        )
        if turned > _ALIKE:
            raise SuiteError(f"{path}: {one.name} lies in another direction than most of {series.label}: take it away")
        if np.abs(np.subtract(one.place.spacing, usual_place.spacing)).max() > _ALIKE:
            raise SuiteError(
                f"{path}: {one.name} has pixels of {one.place.spacing[0]:g} x {one.place.spacing[1]:g} mm, but most of "
                f"{series.label} have {usual_place.spacing[0]:g} x {usual_place.spacing[1]:g}: take it away"
            )


def _check_one(path: Path, series: Series, what: str, values: Sequence[float | str | None]) -> None:
    """Refuse images of several times, echoes or frames of reference: side by side in space they would pass for one."""
    first: dict[float | str, str] = {}
    for one, value in zip(series.slices, values, strict=True):
        if value is not None:
            first.setdefault(value, one.name)
    if len(first) > 1:
        names = list(first.values())
        raise SuiteError(
            f"{path}: {series.label} has {len(first)} {what}, in {names[0]} and {names[1]} for instance: keep one of "
            "them, or put each into a folder of its own"
        )


def _usual(places: Sequence[Place]) -> Place:
    keys = [tuple(np.round([*one.across, *one.down, *one.spacing], 2)) for one in places]
    return places[keys.index(Counter(keys).most_common(1)[0][0])]


def check_steps(path: Path, label: str, slices: Sequence[Slice], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Refuse a series with two images at one position, with a gap, or with uneven steps.

    Args:
        path: for messages.
        label: of the series.
        slices: ordered along the normal.
        normal: (3,) of their planes.

    Returns:
        (3,) mm in LPS from slice to slice. Of one slice it is the normal, as long as dcm2niix has it
        (:attr:`~datamodules.readers.dicom.geometry.Measures.depth`). It need not be along the normal: scanners may tilt
        the gantry.

    Raises:
        SuiteError: names the files and where they lie along the normal.
    """
    origins = np.array([one.place.origin for one in slices if one.place is not None])
    along = origins @ normal
    if len(slices) == 1:
        return normal * slices[0].measures.depth
    steps = np.diff(along)
    different = steps[steps > _ALIKE]
    usual = float(np.median(different)) if len(different) else 0.0
    same = np.flatnonzero(steps <= max(_SAME * usual, _ALIKE))
    if len(same):
        each = len(slices) / (len(slices) - len(same))
        if len(same) > 1 and each.is_integer():
            raise SuiteError(
                f"{path}: {label} has {each:g} images at each position, {slices[same[0]].name} and "
                f"{slices[same[0] + 1].name} for instance: keep one phase or echo of them"
            )
        first, second = slices[same[0]], slices[same[0] + 1]
        raise SuiteError(
            f"{path}: {first.name} and {second.name} lie at the same position ({along[same[0]]:.2f} mm): "
            "keep one of them"
        )
    wide = np.flatnonzero(steps > 1.5 * usual)
    if len(wide):
        index = int(wide[0])
        missing = max(1, round(steps[index] / usual) - 1)
        raise SuiteError(
            f"{path}: {missing} slice{'s are' if missing > 1 else ' is'} missing between {slices[index].name} "
            f"({along[index]:.2f} mm) and {slices[index + 1].name} ({along[index + 1]:.2f} mm), where steps are "
            f"{usual:g} mm: add what is missing, or leave this series out"
        )
    step = np.asarray((origins[-1] - origins[0]) / (len(slices) - 1))
    places = origins[0] + np.arange(len(slices))[:, None] * step
    off = np.linalg.norm(origins - places, axis=1)
    worst = int(off.argmax())
    if off[worst] > _UNEVEN * usual:
        raise SuiteError(
            f"{path}: {slices[worst].name} ({along[worst]:.2f} mm) lies {off[worst]:.2f} mm from where it would at "
            f"equal steps of {np.linalg.norm(step):.4g} mm: take it away, or leave the series out"
        )
    return step
