"""Images in memory with a mask each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.arrays.scans import ArrayScans, ManyArrays, list_of_arrays, same_length
from datamodules.cases.table import CaseTable
from datamodules.samples.label_values import LabelValues, label_values, whole_values
from datamodules.segmentation.base import SegmentationData
from scansuite.errors import SuiteError

_BINARY = LabelValues(("background", "class"), ((0,), (1,)))


class MaskedArrays(ArrayScans, SegmentationData):
    """Arrays for segmentation.

    Args:
        images: see :class:`~datamodules.arrays.scans.ArrayScans`.
        masks: numpy or torch: (N, H, W) class numbers, 0 is the background; or (N, L, H, W) of 0 and 1, a mask for each
            of L classes, which may overlap; or a list of N masks.
        kwargs: see :class:`~datamodules.arrays.scans.ArrayScans` and
            :class:`~datamodules.segmentation.base.SegmentationData`; ``classes`` names the numbers from 0, background
            first, or the L classes.
    """

    def __init__(self, images: ManyArrays, masks: ManyArrays, **kwargs: Any) -> None:
        super().__init__(images, **kwargs)
        self.masks = list_of_arrays("masks", masks)
        same_length("masks", len(self.masks), len(self.images))
        planes = self.masks[0].shape[0] if self.masks[0].ndim == 3 else None
        for number, (mask, image) in enumerate(zip(self.masks, self.images, strict=True)):
            size = image.shape[:2]
            wanted = size if planes is None else (planes, *size)
            if mask.shape != wanted:
                raise SuiteError(f"masks: that of image {number} has shape {mask.shape}, but should have {wanted}")
        self._reader = _BINARY if planes is not None else self._class_numbers()
        if planes is not None:
            named = list(self.classes) if self.classes is not None else [str(plane + 1) for plane in range(planes)]
            named = named[1:] if len(named) == planes + 1 else named
            if len(named) != planes:
                raise SuiteError(f"classes: {len(named)} names for masks of {planes} classes")
            self.overlapping = self.separate_masks = True
            self._names = ("background", *named)
        else:
            self._names = self._reader.names
        for number in range(len(self.masks)):
            self._classes_of(number)  # refuses what stands for no class

    def build_table(self) -> CaseTable:
        """One case an image."""
        self.stored_classes = self._names
        return super().build_table()

    def read_classes(self, image: int) -> NDArray[np.uint8]:
        """The mask of an image: (H, W) class numbers, or (L, H, W) of 0 and 1."""
        return self._classes_of(self.number_of(image))

    def mask_name(self, image: int) -> str:
        """The place of a mask, for messages."""
        return f"masks: image {self.number_of(image)}"

    def _classes_of(self, number: int) -> NDArray[np.uint8]:
        return self._reader.read(self.masks[number], f"masks: image {number}")

    def _class_numbers(self) -> LabelValues:
        """Classes as they are named, else the numbers in the masks."""
        if self.classes is not None:
            return label_values(self.classes, self.ignore_value)
        seen: set[int] = {0}
        for number, mask in enumerate(self.masks):
            seen.update(np.unique(whole_values(mask, f"masks: image {number}")).tolist())
        named = {"background": 0} | {str(value): value for value in sorted(seen - {0, self.ignore_value})}
        if min(seen) < 0:
            raise SuiteError(f"masks: {min(seen)} is no class number: classes count from 0, the background")
        if len(named) == 1:
            raise SuiteError("masks: all are background: name the classes, classes=[...]")
        return label_values(named, self.ignore_value)
