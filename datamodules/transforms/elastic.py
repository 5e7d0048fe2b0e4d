"""Elastic deformation as a free-form deformation: displacements at few control points, cubic B-splines between them.

D. Rueckert et al., Nonrigid registration using free-form deformations, IEEE TMI 18(8), 1999. A B-spline lies within the
hull of its control points, so that a bound of theirs bounds every pixel; and below 0.48 of their distance it never
folds (Y. Choi and S. Lee, Graphical Models 62(1), 2000), which the limit of ``elastic`` keeps. Albumentations'
``ElasticTransform`` smooths noise in every pixel instead: its strength has no such meaning, and it is slow for smooth
fields. This module serves NumPy arrays and tensors of torch alike.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = TypeVar("Array", bound=Any)  # an array of NumPy or a tensor of torch: what has ``clip`` and ``abs``

_INTERVALS = 4  # between the control points that a side spans
POINTS = _INTERVALS + 3  # control points a side: a cubic spline looks one further on either end, two at the last
# Of a side. Control points are a quarter of it apart: 0.1 is 0.4 of their distance.
LARGEST = 0.1


def weights(place: Array, side: int, points: Array) -> Array:
    """How much each control point moves each place.

    Args:
        place: (..., 1) pixel coordinate along a side, where -0.5 is its beginning and ``side`` - 0.5 its end.
        side: length in pixels.
        points: 0, 1, ..., :data:`POINTS` - 1.

    Returns:
        (..., POINTS) non-negative, with a sum of 1. Beyond the ends places count as at the ends.
    """
    along = ((place + 0.5) * (_INTERVALS / side)).clip(0, _INTERVALS) + 1
    distance = abs(along - points)
    shares: Array = ((2 - distance).clip(0) ** 3 - 4 * (1 - distance).clip(0) ** 3) / 6
    return shares


def displacement(
    points: NDArray[np.float64], control: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Displacement at some points of an image.

    Args:
        points: (N, 2) x and y in pixels, where the middle of the first pixel is 0.
        control: (POINTS, POINTS, 2) displacements in pixels (x, y) of the control points, rows first.
        size: (H, W) of the image.

    Returns:
        (N, 2) in pixels.
    """
    numbers = np.arange(POINTS)
    along_y = weights(points[:, 1:], size[0], numbers)
    along_x = weights(points[:, :1], size[1], numbers)
    return np.asarray(np.einsum("na,nb,abd->nd", along_y, along_x, control), dtype=np.float64)


def displacement_field(control: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """(H, W, 2) displacement of every pixel; see :func:`displacement`."""
    numbers = np.arange(POINTS)
    along_y, along_x = (weights(np.arange(side)[:, None], side, numbers) for side in size)
    return np.asarray(np.einsum("ha,wb,abd->hwd", along_y, along_x, control, optimize=True), dtype=np.float64)
