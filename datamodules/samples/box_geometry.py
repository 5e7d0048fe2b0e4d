"""Boxes that follow their image when it is resized or cropped; xyxy in pixels throughout.

In NumPy and float64: Albumentations' crops, which have the same limit of visibility, keep boxes in float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Of a box that is cropped at least this part of the area must still be seen; the augmentation has the same limit.
MIN_VISIBILITY = 0.1


def scaled(boxes: NDArray[np.float64], old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float64]:
    """Boxes (N, 4) on an image of ``old`` (H, W) pixels -> on the same image resized to ``new``."""
    factors = np.array([new[1] / old[1], new[0] / old[0]] * 2)
    return np.asarray(boxes * factors, dtype=np.float64)


def cropped(
    boxes: NDArray[np.float64], top: int, left: int, size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Boxes as a crop of an image shows them.

    Args:
        boxes: (N, 4) on the image.
        top: first row of the crop.
        left: first column of the crop.
        size: (h, w) of the crop.

    Returns:
        The (M, 4) boxes that are still seen, clipped to the crop and counted from its corner; and (N,) which they are:
        those with at least :data:`MIN_VISIBILITY` of their area left.
    """
    moved = boxes - np.array([left, top, left, top], dtype=np.float64)
    clipped = np.clip(moved, 0, np.array([size[1], size[0]] * 2, dtype=np.float64))
    left_over = areas(clipped)
    seen = (left_over > 0) & (left_over >= MIN_VISIBILITY * areas(moved))
    return clipped[seen], seen


def areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) square pixels; 0 for boxes without width or height."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1], dtype=np.float64)
