"""Objects of images: connected regions of masks, or boxes; how many, how large, and on which side."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.fingerprint.fingerprint import Objects
from datamodules.fingerprint.spreads import spread
from datamodules.samples.label_values import IGNORE

_FIELDS = 6  # class, x1, y1, x2, y2, area


def regions_of(mask: NDArray[np.uint8], *, background: bool) -> NDArray[np.float64]:
    """Connected regions of a mask, by corners too.

    OpenCV labels and measures them in one pass; ``scipy.ndimage.label`` is the reference in a test.

    Args:
        mask: (H, W) class numbers; or (L, H, W) of 0 and 1, a class each; 255 is left out.
        background: of (H, W), the class 0 is none.

    Returns:
        (N, 6): class (from 0, without the background), x1, y1, x2, y2 in pixels (half-open), and area in pixels.
    """
    if mask.ndim == 3:
        planes = [(number, plane == 1) for number, plane in enumerate(mask)]
    else:
        first = 1 if background else 0
        numbers = np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE + 1)[:IGNORE])
        planes = [(int(number) - first, mask == number) for number in numbers if number >= first]
    found = [_regions(number, plane) for number, plane in planes if plane.any()]
    return np.concatenate([np.zeros((0, _FIELDS)), *found])


def _regions(number: int, plane: NDArray[np.bool_]) -> NDArray[np.float64]:
    inside = np.ascontiguousarray(plane, np.uint8)
    table = cv2.connectedComponentsWithStats(inside, connectivity=8)[2][1:].astype(np.float64)
    left, top, width, height, area = table.T
    return np.stack([np.full(len(table), float(number)), left, top, left + width, top + height, area], axis=1)


@dataclass
class ObjectTable:
    """Objects as they are found, image by image.

    Attributes:
        classes: how many there are.
        rows: (n, 6) of each image, see :func:`regions_of`.
        sizes: (H, W) of each image.
        spacings: mm of its rows and columns; None where unknown.
    """

    classes: int
    rows: list[NDArray[np.float64]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    spacings: list[tuple[float, float] | None] = field(default_factory=list)

    def add(self, rows: NDArray[np.float64], size: tuple[int, int], spacing: tuple[float, float] | None = None) -> None:
        """Add the objects of an image."""
        self.rows.append(rows)
        self.sizes.append(size)
        self.spacings.append(spacing)

    def objects(self) -> Objects | None:
        """What they are like; None where no image was added."""
        if not self.rows:
            return None
        counts = np.array([len(rows) for rows in self.rows])
        table = np.concatenate(self.rows)
        image = np.repeat(np.arange(len(counts)), counts)
        sizes = np.array(self.sizes, np.float64)[image].reshape(-1, 2)
        mm = np.array([one or (np.nan, np.nan) for one in self.spacings])[image].reshape(-1, 2)
        x1, y1, x2, y2, area = table.T[1:]
        number, width, height = table[:, 0].astype(np.int64), x2 - x1, y2 - y1
        short_side = np.minimum(width, height)
        side_mm = np.sqrt(width * mm[:, 1] * height * mm[:, 0])
        shown = np.zeros((len(counts), self.classes), np.bool_)
        shown[image, number] = True
        sides = np.sign((x1 + x2) / 2 - sizes[:, 1] / 2)
        each = np.bincount(number, minlength=self.classes)
        mean_sides = np.bincount(number, sides, self.classes) / np.maximum(each, 1)
        return Objects(
            total=len(table),
            per_image=spread(counts),
            empty=float((counts == 0).mean()),
            short_side=spread(short_side),
            long_side=spread(np.maximum(width, height)),
            side_mm=spread(side_mm) if np.isfinite(side_mm).any() else None,
            share=spread(width * height / np.maximum(1, sizes.prod(axis=1))),
            aspect=spread(height / width),
            area=spread(area),
            class_images=tuple(shown.mean(axis=0).tolist()),
            class_sides=tuple(mean_sides.tolist()),
            class_short_sides=tuple(spread(short_side[number == one]) for one in range(self.classes)),
            class_areas=tuple(spread(area[number == one]) for one in range(self.classes)),
        )
