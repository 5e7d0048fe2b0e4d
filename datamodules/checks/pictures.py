"""Pictures of what was checked, for its page: images and volumes with their masks and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.checks.masks import classes_in
from datamodules.checks.measures import READ, TYPES
from datamodules.checks.survey import Survey
from datamodules.detection.boxes import CORNERS
from datamodules.evenly import evenly
from datamodules.faults import collecting
from datamodules.pictures.page_figures import PagePicture
from datamodules.pictures.views import View, stored_view, volume_views
from datamodules.readers.volume import read_volume
from datamodules.stored import Stored, StoredMasks, StoredVolume
from scansuite.errors import SuiteError

_MOST_IMAGES = 3  # of a case with many images
_WHO = {"patient": "patient_id", "part": "split"}  # word -> column


class CasePictures:
    """Pictures of units (images, volumes) and of cases; each is read when it is asked for.

    Args:
        survey: what was checked.

    Attributes:
        names: of the classes that are drawn, in class order, without the background of masks.
    """

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.stored = survey.data.stored(survey.table) if len(survey.table) else Stored()
        self.names: list[str] = []
        if self.stored.boxes is not None:
            self.names = list(self.stored.boxes.classes)
        elif self.stored.masks is not None:
            self.names = mask_names(survey, self.stored.masks)

    def units_of(self, case: int) -> NDArray[np.int64]:
        """The units of a case (row of the table) that could be read."""
        return np.flatnonzero((self.survey.owners == case) & (self.survey.records["status"] == READ))

    def of_unit(self, unit: int) -> PagePicture | None:
        """An image, or three planes of a volume; None where it cannot be read (any more)."""
        if not 0 <= unit < len(self.survey.units) or self.survey.records["status"][unit] != READ:
            return None
        try:
            with collecting(lambda fault: None):
                views = self._views(unit)
        except SuiteError:
            return None
        return self._picture(views, int(self.survey.owners[unit]), unit, [self.facts(unit)])

    def of_case(self, case: int) -> PagePicture | None:
        """The only unit of a case; of a case with many images some of them, evenly spaced."""
        units = self.units_of(case) if case >= 0 else np.empty(0, np.int64)
        if len(units) < 2:
            return self.of_unit(int(units[0])) if len(units) else None
        views: list[View] = []
        try:
            with collecting(lambda fault: None):
                for unit in units[evenly(len(units), _MOST_IMAGES)]:
                    views.extend(replace(view, spacing=None) for view in self._views(int(unit))[:1])
        except SuiteError:
            return None
        lines = [f"{len(units)} images, {len(views)} of them shown", self.facts(int(units[0]))]
        return self._picture(views, case, -1, lines)

    def who(self, case: int, unit: int = -1) -> tuple[str, list[str]]:
        """Name of a case (of a file, where it is none), and lines with patient, part and, of several, the image."""
        if case < 0:
            return (self.survey.units.path(unit) if 0 <= unit < len(self.survey.units) else ""), []
        row = self.survey.table.cases.iloc[case]
        lines = [f"{word} {row[column]}" for word, column in _WHO.items() if isinstance(row[column], str)]
        label = self.survey.labels.words(case) if self.survey.labels is not None else ""
        lines += [f"label: {label}"] if label else []
        name = str(row["case_id"])
        if unit >= 0 and (self.survey.owners == case).sum() > 1:
            lines.append(self.survey.units.path(unit))
        return name, lines

    def facts(self, unit: int) -> str:
        """Size, spacing, channels, type and values of a unit, in one line."""
        return facts(self.survey.records[unit])

    def _picture(self, views: Sequence[View], case: int, unit: int, lines: Sequence[str]) -> PagePicture:
        name, words = self.who(case, unit)
        numbers = sorted({number for view in views for number in view.classes()})
        seen = [self.names[number] if number < len(self.names) else f"class {number + 1}" for number in numbers]
        planes = ", ".join(view.caption for view in views if view.caption)
        alt = "; ".join([name, *words, *([planes] if planes else []), *([f"shows {', '.join(seen)}"] if seen else [])])
        key = ("unit", unit) if unit >= 0 else ("case", case)
        said = [*words, *([planes] if planes else []), *lines]
        return PagePicture(views, name, alt, said, [name, *words], key)

    def _views(self, unit: int) -> list[View]:
        volume = self.survey.units.volume(unit)
        if volume is not None:
            return self._planes(volume)
        scan = self.survey.units.read(unit)
        view = stored_view(scan.array, scan.info.get("spacing"))
        masks, boxes = self.stored.masks, self.stored.boxes
        if masks is not None:
            mask = _or_none(lambda: masks.read(unit))
            if mask is not None and mask.shape[-2:] == scan.array.shape[:2]:
                view = view.with_mask(mask, self._count(mask, separate=masks.separate), separate=masks.separate)
        if boxes is not None:
            own = boxes.boxes[boxes.boxes["case"] == self.survey.owners[unit]]
            view = replace(view, boxes=own[CORNERS].to_numpy(np.float64), labels=self._numbers(own))
        return [view]

    def _planes(self, volume: StoredVolume) -> list[View]:
        limits = self.survey.data.limits
        image = read_volume(volume.images[0], limits)
        classes = volume.classes
        mask = None if classes is None or volume.mask is None else _or_none(lambda: classes(image))
        count = None if mask is None else self._count(mask, separate=False)
        return volume_views(image.array, image.affine, mask, count)

    def _count(self, mask: NDArray[Any], *, separate: bool) -> int | None:
        return None if not self.names else len(mask) if separate else len(self.names)

    def _numbers(self, boxes: pd.DataFrame) -> NDArray[np.int64]:
        """Class number of each box, -1 for those that are ignored."""
        numbers = pd.Categorical(boxes["label"], categories=self.names).codes.astype(np.int64)
        if "ignore" in boxes:
            numbers[boxes["ignore"].to_numpy(bool)] = -1
        return numbers


def mask_names(survey: Survey, masks: StoredMasks) -> list[str]:
    """Names of the classes of masks, without the background; where nobody names them, those that are seen."""
    if masks.classes:
        return list(masks.classes[1:])
    seen = np.flatnonzero(classes_in(survey.records["labels"]).any(axis=0))
    return [f"class {number}" for number in range(1, int(seen.max(initial=0)) + 1)]


def facts(record: np.void) -> str:
    """What was measured of an image or a volume, in one line."""
    height, width, slices = (int(side) for side in record["shape"])
    size = f"{height} x {width} pixels" if slices == 1 else f"{height} x {width} x {slices} voxels"
    spacing = [float(side) for side in record["spacing"] if side > 0]
    channels = int(record["channels"])
    words = [
        size,
        f"{' x '.join(f'{side:.4g}' for side in spacing)} mm" if spacing else "",
        f"{channels} channels" if channels > 1 else "",
        TYPES[int(record["type"])],
        f"{float(record['low']):.4g} to {float(record['high']):.4g}",
    ]
    return ", ".join(word for word in words if word)


def _or_none(read: Any) -> NDArray[Any] | None:
    """A mask, or None where it cannot be read: the check has said so."""
    try:
        return np.asarray(read())
    except SuiteError:
        return None
