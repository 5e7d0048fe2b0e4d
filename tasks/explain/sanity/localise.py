"""Maps against the truth: whether the highest place lies in it, and how much of the map does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
TOLERANCE = 0.03  # of the longer side: the 15 pixels of the paper, in images of 500


def pointing(strength: FloatArray, truth: BoolArray, tolerance: float = TOLERANCE) -> float:
    """Pointing game (Zhang et al., "Top-down neural attention by excitation backprop", IJCV 126, 2018).

    Args:
        strength: (H, W) map, not negative.
        truth: (H, W) pixels of what is explained.
        tolerance: how far beside the truth still counts, as a share of the longer side.

    Returns:
        1 where the highest place lies in the truth, else 0; of several that are equally high the share that does, which
        for a map of nothing is the chance to hit.
    """
    return float(widened(truth, tolerance)[strength == strength.max()].mean())


def chance(truth: BoolArray, tolerance: float = TOLERANCE) -> float:
    """Chance that a place drawn at random counts in the pointing game."""
    return float(widened(truth, tolerance).mean())


def energy(strength: FloatArray, truth: BoolArray) -> float | None:
    """Energy-based pointing game (Wang et al., "Score-CAM", CVPRW 2020): share of the map that lies in the truth.

    None of a map of nothing. By chance it is the truth's share of the image.
    """
    total = float(strength.sum())
    return float(strength[truth].sum()) / total if total > 0 else None


def widened(truth: BoolArray, tolerance: float) -> BoolArray:
    """Pixels no farther from the truth than a share of the image's longer side."""
    import cv2

    reach = round(tolerance * max(truth.shape))
    if reach == 0 or not truth.any():
        return truth
    away = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= reach)


def box_mask(box: tuple[float, float, float, float], size: tuple[int, int]) -> BoolArray:
    """(H, W) pixels whose centre lies in a box x1, y1, x2, y2."""
    rows, columns = np.arange(size[0])[:, None] + 0.5, np.arange(size[1]) + 0.5
    return np.asarray((columns > box[0]) & (columns < box[2]) & (rows > box[1]) & (rows < box[3]))
