"""Images in memory with boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from datamodules.arrays.scans import ArrayScans, ManyArrays, list_of_arrays, same_length
from datamodules.cases.table import CaseTable
from datamodules.detection.base import Annotated, DetectionData
from datamodules.detection.boxes import RawBoxes
from scansuite.errors import SuiteError


class BoxedArrays(ArrayScans, DetectionData):
    """Arrays for detection.

    Args:
        images: see :class:`~datamodules.arrays.scans.ArrayScans`.
        boxes: list of N arrays (n, 4), numpy or torch: x1, y1, x2, y2 in pixels, where x2 - x1 is the width; an image
            without boxes has an empty one.
        labels: list of N arrays (n,): the class of each box, by number or name; left out: all are ``object``.
        kwargs: see :class:`~datamodules.arrays.scans.ArrayScans` and
            :class:`~datamodules.detection.base.DetectionData`; ``classes`` names the numbers from 0.
    """

    def __init__(self, images: ManyArrays, boxes: ManyArrays, labels: ManyArrays | None = None, **kwargs: Any) -> None:
        super().__init__(images, **kwargs)
        self.boxes = list_of_arrays("boxes", boxes)
        same_length("boxes", len(self.boxes), len(self.images))
        given = None if labels is None else list_of_arrays("labels", labels)
        same_length("labels", len(self.boxes if given is None else given), len(self.images))
        for number, array in enumerate(self.boxes):
            if array.size and (array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "uif"):
                raise SuiteError(f"boxes: those of image {number} have shape {array.shape}: expected (n, 4)")
            if array.size and not np.isfinite(array).all():
                raise SuiteError(f"boxes: one of image {number} is NaN or infinite: mend or remove it")
            if given is not None and given[number].size != array.size // 4:
                raise SuiteError(f"labels: {given[number].size} for the {array.size // 4} boxes of image {number}")
        if not any(array.size for array in self.boxes) and self.classes is None:
            raise SuiteError("boxes: no image has one: name the classes, classes=[...]")
        corners = np.concatenate([array.reshape(-1, 4) for array in self.boxes])
        if len(corners) and corners.max() <= 1 and corners.min() >= 0:
            raise SuiteError("boxes: all lie between 0 and 1: give x1, y1, x2, y2 in pixels, not as shares")
        self.labels = [
            ["object"] * (array.size // 4) if given is None else self._names(given[number].ravel().tolist(), number)
            for number, array in enumerate(self.boxes)
        ]

    def build_table(self) -> CaseTable:
        """One case an image."""
        return DetectionData.build_table(self)

    def read_annotations(self) -> Annotated:
        """The boxes as they were given."""
        boxes = RawBoxes()
        where = [f"boxes: image {number}" for number in range(len(self.images))]
        for number, (array, labels) in enumerate(zip(self.boxes, self.labels, strict=True)):
            for (x1, y1, x2, y2), label in zip(array.reshape(-1, 4).tolist(), labels, strict=True):
                boxes.add(number, label, (float(x1), float(y1), float(x2), float(y2)), where[number])
        sizes: list[tuple[int, int] | None] = [(image.shape[0], image.shape[1]) for image in self.images]
        return Annotated(self.cases, sizes, boxes, where, classes=self._listed())

    def _names(self, labels: list[Any], number: int) -> list[str]:
        """Classes by name."""
        names = []
        for label in labels:
            if label is None or label != label:
                raise SuiteError(f"labels: that of a box of image {number} is missing: leave the box out, or name it")
            label = int(label) if isinstance(label, float) and label.is_integer() else label
            if isinstance(label, str) or self.classes is None:
                names.append(str(label))
            elif label in range(len(self.classes)):
                names.append(str(self.classes[int(label)]))
            else:
                raise SuiteError(
                    f"labels: a box of image {number} is of class {label}, but classes has {len(self.classes)}"
                )
        return names

    def _listed(self) -> list[str] | None:
        """Classes in class order where they are numbers: by number, not by name."""
        seen = {label for labels in self.labels for label in labels}
        return sorted(seen, key=int) if seen and all(label.isdecimal() for label in seen) else None
