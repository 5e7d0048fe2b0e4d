"""Four images put together to one, with their annotations: more, and other, neighbours for small data sets.

A. Bochkovskiy, C.-Y. Wang, H.-Y. M. Liao, YOLOv4: Optimal Speed and Accuracy of Object Detection, arXiv:2004.10934,
2020. Unlike there nothing is resized here: magnification means something in a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from datamodules.samples.annotation import Annotation, Crop
from datamodules.samples.sources import Shown
from scansuite.random_streams import MOSAIC_LAYOUT

_NEAREST = 0.25  # of a side: how near to the border the seams come


def mosaic(parts: Sequence[Shown], annotations: Sequence[Annotation[Any]], seed: Sequence[int], fill: Any = 0) -> Shown:
    """Put four images of one size together to one of that size.

    Two seams, a row and a column in the middle half, divide the image. Each of the four fields shows a part of one
    image, taken at random of what shows its scan; where that is smaller than the field, the rest is ``fill``.
    Annotations are cropped with their images: boxes are dropped with less than
    :data:`~datamodules.samples.box_geometry.MIN_VISIBILITY` of their area left.

    Args:
        parts: top left, top right, bottom left, bottom right; the whole has the identity of the first.
        annotations: what ``values`` of the parts are of.
        seed: words of the draw; equal words, equal mosaic.
        fill: the value that the model sees as 0.
    """
    rng = np.random.default_rng([*seed, MOSAIC_LAYOUT])
    height, width = parts[0].image.shape[:2]
    row, column = (int(side * rng.uniform(_NEAREST, 1 - _NEAREST)) for side in (height, width))
    whole = np.full_like(parts[0].image, fill)
    crops: list[Crop] = []
    corners: list[tuple[int, int]] = []
    for number, part in enumerate(parts):
        first_row, last_row = (0, row) if number < 2 else (row, height)
        first_column, last_column = (0, column) if number % 2 == 0 else (column, width)
        field = (last_row - first_row, last_column - first_column)
        top, left = (
            int(rng.integers(max(0, there - wanted) + 1)) for there, wanted in zip(part.content, field, strict=True)
        )
        seen = part.image[: part.content[0], : part.content[1]][top : top + field[0], left : left + field[1]]
        size = (seen.shape[0], seen.shape[1])
        whole[first_row : first_row + size[0], first_column : first_column + size[1]] = seen
        crops.append(Crop(top, left, size, size))
        corners.append((first_row, first_column))
    values = tuple(
        annotation.join(
            [annotation.crop(part.values[place], crop) for part, crop in zip(parts, crops, strict=True)],
            corners,
            (height, width),
        )
        for place, annotation in enumerate(annotations)
    )
    return Shown(whole, values, parts[0].info, (height, width), parts[0].limits)
