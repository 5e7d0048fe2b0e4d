"""Boxes that are neither to be found nor to be missed, as a part of the samples that are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.preprocess import Preprocess
from datamodules.samples.annotation import Annotation, Crop
from datamodules.samples.box_geometry import cropped, scaled
from datamodules.types import Scan, ScanInfo

# (M, 4) xyxy in pixels, (M,) class numbers, (M,) VOC's difficult and no crowd.
MarkedBoxes: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]


@dataclass(frozen=True)
class IgnoredBoxes(Annotation[MarkedBoxes]):
    """Boxes that do not count; the augmentation does not know them, so they are of samples without one.

    Attributes:
        read_boxes: row number of an image -> its ignored boxes in pixels as stored, their class numbers, and whether
            they are ignored as VOC's difficult.
    """

    read_boxes: Callable[[int], MarkedBoxes]

    names: ClassVar[tuple[str, ...]] = ("ignored",)
    from_files: ClassVar[bool] = False

    def read(self, image: int, scan: Scan) -> MarkedBoxes:
        """The ignored boxes of an image."""
        return self.read_boxes(image)

    def scale(self, value: MarkedBoxes, stored: tuple[int, int], preprocess: Preprocess) -> MarkedBoxes:
        """The boxes on the model's image."""
        return scaled(value[0], stored, preprocess.content_size(stored)), *value[1:]

    def crop(self, value: MarkedBoxes, crop: Crop) -> MarkedBoxes:
        """Boxes of which enough is seen, clipped to what shows the scan."""
        seen, kept = cropped(value[0], crop.top, crop.left, crop.content)
        return seen, value[1][kept], value[2][kept]

    def join(
        self, values: Sequence[MarkedBoxes], corners: Sequence[tuple[int, int]], size: tuple[int, int]
    ) -> MarkedBoxes:
        """The boxes of all parts."""
        moved = [
            value[0] + np.array([column, row] * 2, dtype=np.float64)
            for value, (row, column) in zip(values, corners, strict=True)
        ]
        labels, difficult = (np.concatenate([value[part] for value in values]) for part in (1, 2))
        return np.concatenate(moved), labels, difficult

    def arrays(self, value: MarkedBoxes) -> dict[str, Any]:
        """``ignored``: boxes, classes and marks beside each other."""
        corners, labels, difficult = value
        marks = np.stack([labels, difficult], axis=1)
        return {"ignored": np.concatenate([corners, marks], axis=1).astype(np.float32)}

    def tensors(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """``ignored``: (M, 6) float32, see :class:`~datamodules.types.Sample`."""
        return {"ignored": torch.from_numpy(arrays["ignored"])}

    def scan_facts(self, content: tuple[int, int]) -> ScanInfo:
        """Size that shows the scan: found boxes are evaluated there alone."""
        return ScanInfo(content_size=content)
