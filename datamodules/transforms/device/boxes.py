"""Boxes that follow their image, in NumPy: how many are left is known in the loader's process, and costs no wait."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.transforms.device import parameters as at
from datamodules.transforms.elastic import POINTS
from datamodules.transforms.moved_boxes import bent, enclosing, outlines
from datamodules.transforms.names import MIN_VISIBILITY


def move_boxes(
    params: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes on the augmented image: the smallest upright ones about what became of them.

    Args:
        params: (K,) of the case.
        boxes: (N, 4) xyxy in pixels.
        size: (H, W) of the image.

    Returns:
        (M, 4) float32 boxes clipped to the image, and (N,) which they are: those with at least
        :data:`~datamodules.transforms.names.MIN_VISIBILITY` of their area left.
    """
    if not len(boxes):
        return boxes.reshape(0, 4).astype(np.float32), np.zeros(0, bool)
    height, width = size
    map_ = params[at.MAP : at.MAP + 6].astype(np.float64).reshape(2, 3)
    control = params[at.ELASTIC :].astype(np.float64).reshape(-1, POINTS, 2)
    elastic = bool(control.any())
    outline = outlines(boxes.astype(np.float64), 9 if elastic else 2)
    middle = np.array([width, height]) / 2
    points = np.linalg.solve(map_[:, :2], (outline.reshape(-1, 2) - middle - map_[:, 2]).T).T + middle
    if elastic:
        points = bent(points, control, size)
    moved = enclosing(points.reshape(outline.shape))
    clipped = np.clip(moved, 0, np.array([width, height] * 2, dtype=np.float64))
    area, seen = (np.prod(edges[:, 2:] - edges[:, :2], axis=1) for edges in (moved, clipped))
    kept = (seen > 0) & (seen >= MIN_VISIBILITY * area)
    return clipped[kept].astype(np.float32), kept
