"""Probability maps at another size, as ``torch.nn.functional.interpolate`` makes them, without torch.

OpenCV's linear interpolation is the same where a side grows, but where one shrinks none of OpenCV's is that of torch's
``antialias`` (a triangle as wide as two pixels of the smaller image, as in Pillow).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


def resize_probabilities(probabilities: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """(B, K, h, w) -> (B, K, H, W) by linear interpolation; sides that shrink are averaged (antialiased)."""
    resized = probabilities
    for axis, side in ((3, size[1]), (2, size[0])):
        if resized.shape[axis] != side:
            resized = _along(resized, axis, side)
    return resized


def _along(maps: NDArray[np.float32], axis: int, side: int) -> NDArray[np.float32]:
    first, weights = _taps(maps.shape[axis], side)
    shape = [1] * maps.ndim
    shape[axis] = side
    total = np.zeros((*maps.shape[:axis], side, *maps.shape[axis + 1 :]), np.float32)
    for tap in range(weights.shape[1]):
        place = np.minimum(first + tap, maps.shape[axis] - 1)  # beyond the edge a weight is 0
        total += maps.take(place, axis=axis) * weights[:, tap].reshape(shape)
    return total


@lru_cache(maxsize=8)
def _taps(old: int, new: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """First pixel (new,) and weights (new, taps) of the old pixels that make each new one; weights sum to 1."""
    scale = old / new
    reach = max(1.0, scale)  # of the triangle, to either side
    centres = scale * (np.arange(new) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.int64), old)
    taps = first[:, None] + np.arange(math.ceil(reach) * 2 + 1)
    weights = np.clip(1 - np.abs(taps + 0.5 - centres[:, None]) / reach, 0, None)
    weights[taps >= last[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return first, weights[:, weights.any(axis=0)].astype(np.float32)
