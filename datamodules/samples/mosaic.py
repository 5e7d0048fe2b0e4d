"""Four images put together to one, with their boxes: more, and other, neighbours for small data sets.

A. Bochkovskiy, C.-Y. Wang, H.-Y. M. Liao, YOLOv4: Optimal Speed and Accuracy of Object Detection, arXiv:2004.10934,
2020. Unlike there nothing is resized here: magnification means something in a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.samples.box_geometry import cropped
from scansuite.random_streams import MOSAIC_LAYOUT

_NEAREST = 0.25  # of a side: how near to the border the seams come


class BoxedImage(NamedTuple):
    """An image with its boxes.

    Attributes:
        image: (H, W, C) float32 in [0, 1].
        boxes: (N, 4) xyxy in pixels.
        labels: (N,) class numbers.
        content: (h, w) that show the scan; beyond is filling.
    """

    image: NDArray[np.float32]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    content: tuple[int, int]


def mosaic(parts: Sequence[BoxedImage], seed: Sequence[int]) -> BoxedImage:
    """Put four images of one size together to one of that size.

    Two seams, a row and a column in the middle half, divide the image. Each of the four fields shows a part of one
    image, taken at random of what shows its scan; where that is smaller than the field, the rest is 0. Boxes are
    cropped, and dropped with less than :data:`~datamodules.samples.box_geometry.MIN_VISIBILITY` of their area left.

    Args:
        parts: top left, top right, bottom left, bottom right.
        seed: words of the draw; equal words, equal mosaic.
    """
    rng = np.random.default_rng([*seed, MOSAIC_LAYOUT])
    height, width, _ = parts[0].image.shape
    row, column = (int(side * rng.uniform(_NEAREST, 1 - _NEAREST)) for side in (height, width))
    whole = np.zeros_like(parts[0].image)
    boxes: list[NDArray[np.float64]] = []
    labels: list[NDArray[np.int64]] = []
    for number, part in enumerate(parts):
        first_row, last_row = (0, row) if number < 2 else (row, height)
        first_column, last_column = (0, column) if number % 2 == 0 else (column, width)
        field = (last_row - first_row, last_column - first_column)
        top, left = (
            int(rng.integers(max(0, there - wanted) + 1)) for there, wanted in zip(part.content, field, strict=True)
        )
        seen = part.image[: part.content[0], : part.content[1]][top : top + field[0], left : left + field[1]]
        whole[first_row : first_row + seen.shape[0], first_column : first_column + seen.shape[1]] = seen
        own, kept = cropped(part.boxes, top, left, (seen.shape[0], seen.shape[1]))
        boxes.append(own + np.array([first_column, first_row] * 2, dtype=np.float64))
        labels.append(part.labels[kept])
    return BoxedImage(whole, np.concatenate(boxes), np.concatenate(labels), (height, width))
