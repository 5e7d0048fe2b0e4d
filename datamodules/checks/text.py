"""Text burnt into pictures, suspected cheaply: a row of small thin-lined shapes near the edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LEAST_SIDE = 128
_BAND = 0.25  # of height at the upper and lower edge: where machines write
_HEIGHTS = (6, 40)  # of a character, in pixels
_LETTERS = 5  # in a row
_FILLED = 0.65  # of its frame: a letter is less, a round spot more
_MOST_SHAPES = 2000


def suspect_text(grey: NDArray[np.float32]) -> bool:
    """Whether small shapes of one height, made of thin lines, stand in a row near the upper or lower edge.

    Machines write in one value, the highest. What is looked at are shapes above the middle of the range that reach it.

    Args:
        grey: (H, W), any range.
    """
    height, width = grey.shape
    lowest, highest = float(grey.min()), float(grey.max())
    if min(height, width) < _LEAST_SIDE or highest == lowest:
        return False
    band = round(height * _BAND)
    return any(_has_letters(part, lowest, highest) for part in (grey[:band], grey[-band:]))


def _has_letters(part: NDArray[np.float32], lowest: float, highest: float) -> bool:
    bright = part >= (lowest + highest) / 2
    if bright.mean() > 0.2:
        return False
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8), connectivity=8)
    if not _LETTERS < count <= _MOST_SHAPES:
        return False
    flat = np.bincount(numbers[part >= highest - 0.02 * (highest - lowest)], minlength=count)[1:] > 0
    lefts, tops, widths, heights, areas = stats[1:].T
    thin = (areas < _FILLED * widths * heights) | (widths <= 0.35 * heights)
    sized = (heights >= _HEIGHTS[0]) & (heights <= _HEIGHTS[1]) & (widths <= 1.6 * heights)
    letters = flat & thin & sized
    return _in_a_row(lefts[letters], tops[letters], widths[letters], heights[letters])


def _in_a_row(
    lefts: NDArray[np.int32], tops: NDArray[np.int32], widths: NDArray[np.int32], heights: NDArray[np.int32]
) -> bool:
    """Whether enough of some shapes stand side by side on one line."""
    feet = tops + heights
    for foot, tall in zip(feet, heights, strict=True):
        same = (np.abs(feet - foot) <= 0.15 * tall + 1) & (np.abs(heights - tall) <= 0.3 * tall)
        if same.sum() < _LETTERS:
            continue
        order = np.argsort(lefts[same])
        gaps = lefts[same][order][1:] - (lefts[same] + widths[same])[order][:-1]
        run = longest = 1
        for near in gaps <= 1.2 * tall:
            run = run + 1 if near else 1
            longest = max(longest, run)
        if longest >= _LETTERS:
            return True
    return False
