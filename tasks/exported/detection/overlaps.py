"""Overlap of boxes, in the precision that they are given in."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = TypeVar("Floats", bound=NDArray[Any])


def areas(boxes: Floats) -> Floats:
    """(N, 4) xyxy -> (N,) areas."""
    area: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def intersections(first: Floats, second: Floats) -> Floats:
    """(N, 4) and (M, 4) xyxy -> (N, M) areas that both cover."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    both: Floats = sides[..., 0] * sides[..., 1]
    return both


def box_iou(first: Floats, second: Floats) -> Floats:
    """(N, 4) and (M, 4) xyxy -> (N, M) intersection over union; as torchvision's, which wants torch."""
    both = intersections(first, second)
    overlap: Floats = both / (areas(first)[:, None] + areas(second)[None] - both)
    return overlap
