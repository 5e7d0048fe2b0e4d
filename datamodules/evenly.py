"""Some of many: numbers that are evenly spaced."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(length: int, count: int) -> NDArray[np.int64]:
    """Numbers below ``length``, evenly spaced; at most ``count``, none twice."""
    return np.linspace(0, length - 1, min(length, count)).astype(np.int64)
