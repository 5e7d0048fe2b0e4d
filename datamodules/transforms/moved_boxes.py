"""Boxes of an image that is bent: the smallest upright boxes about what became of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.transforms.elastic import displacement

_STEPS = 16  # of the inversion: slopes are below 0.8, and mostly far below


def outlines(boxes: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(N, P, 2) points (x, y) along the edges of boxes (N, 4), ``count`` on each edge with its ends."""
    share = np.linspace(0, 1, count)
    low, high = np.zeros(count), np.ones(count)
    unit = np.concatenate([np.stack(pair, 1) for pair in ((share, low), (share, high), (low, share), (high, share))])
    return np.asarray(boxes[:, None, :2] + unit * (boxes[:, None, 2:] - boxes[:, None, :2]), dtype=np.float64)


def enclosing(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 4) xyxy about (N, P, 2) points."""
    return np.concatenate([points.min(1), points.max(1)], axis=1)


def bent(points: NDArray[np.float64], control: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Places (N, 2) to which points of the image go, counted from its corner, where its pixels come from p + d(p).

    Args:
        points: (N, 2) x and y in pixels.
        control: (POINTS, POINTS, 2), see :func:`~datamodules.transforms.elastic.displacement`.
        size: (H, W) of the image.
    """
    there = points
    for _ in range(_STEPS):
        there = points - displacement(there - 0.5, control, size)
    return there


def bent_boxes(boxes: NDArray[np.float64], control: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Boxes (N, 4) xyxy in pixels, their edges followed at nine points each."""
    outline = outlines(boxes, 9)
    return enclosing(bent(outline.reshape(-1, 2), control, size).reshape(outline.shape))
