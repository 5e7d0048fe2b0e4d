"""Boxes as a part of samples."""

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
from datamodules.types import Scan

LabelledBoxes: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]  # (N, 4) xyxy in pixels, (N,) class numbers


@dataclass(frozen=True)
class Boxes(Annotation[LabelledBoxes]):
    """Boxes to be found, with their classes.

    Attributes:
        read_boxes: row number of an image -> its boxes in pixels as stored, and their class numbers.
    """

    read_boxes: Callable[[int], LabelledBoxes]

    names: ClassVar[tuple[str, ...]] = ("boxes", "labels")
    by_batch: ClassVar[bool] = True
    from_files: ClassVar[bool] = False

    def read(self, image: int, scan: Scan) -> LabelledBoxes:
        """The boxes of an image, which are known without it."""
        return self.read_boxes(image)

    def scale(self, value: LabelledBoxes, stored: tuple[int, int], preprocess: Preprocess) -> LabelledBoxes:
        """The boxes on the model's image."""
        return scaled(value[0], stored, preprocess.content_size(stored)), value[1]

    def crop(self, value: LabelledBoxes, crop: Crop) -> LabelledBoxes:
        """Boxes of which enough is seen, clipped to what shows the scan."""
        seen, kept = cropped(value[0], crop.top, crop.left, crop.content)
        return seen, value[1][kept]

    def join(
        self, values: Sequence[LabelledBoxes], corners: Sequence[tuple[int, int]], size: tuple[int, int]
    ) -> LabelledBoxes:
        """The boxes of all parts."""
        moved = [
            boxes + np.array([column, row] * 2, dtype=np.float64)
            for (boxes, _), (row, column) in zip(values, corners, strict=True)
        ]
        return np.concatenate(moved), np.concatenate([labels for _, labels in values])

    def arrays(self, value: LabelledBoxes) -> dict[str, Any]:
        """``boxes`` in float32, and ``labels``."""
        return {"boxes": value[0].astype(np.float32), "labels": value[1]}

    def tensors(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """``boxes``: (N, 4) float32, ``labels``: (N,) int64."""
        return {"boxes": torch.from_numpy(arrays["boxes"]), "labels": torch.from_numpy(arrays["labels"])}

    def foreground(
        self, value: LabelledBoxes, patch: tuple[int, int], free: tuple[int, int], rng: np.random.Generator
    ) -> tuple[int, int] | None:
        """A patch that holds the centre of a box, all boxes alike."""
        boxes = value[0]
        if not len(boxes):
            return None
        x1, y1, x2, y2 = boxes[rng.integers(len(boxes))]
        # Anywhere in the patch, not in its middle: where it lies must tell nothing.
        top, left = (
            min(max(0, int(middle) - int(rng.integers(part))), most)
            for middle, part, most in zip(((y1 + y2) / 2, (x1 + x2) / 2), patch, free, strict=True)
        )
        return top, left
