"""Orientation of pictures: those that say they lie on their side are set upright."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an orientation (EXIF 2.3 and TIFF 6.0, tag 274); a number that is none of 2-8 changes nothing."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
