"""Many numbers as their spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.fingerprint.fingerprint import NOT_MEASURED, Spread

_QUANTILES = (0, 0.05, 0.5, 0.95, 1)
_LARGEST = 1e300  # differences of larger numbers are none


def spread(values: NDArray[Any] | Sequence[float]) -> Spread:
    """The spread of numbers; of none, or where none is finite, :data:`~.fingerprint.NOT_MEASURED`.

    Args:
        values: of any shape; NaN and infinite ones do not count, and larger ones than 1e300 count as that.
    """
    numbers = np.asarray(values, np.float64).ravel()
    numbers = np.clip(numbers[np.isfinite(numbers)], -_LARGEST, _LARGEST)
    if not len(numbers):
        return NOT_MEASURED
    return Spread(*(float(one) for one in np.quantile(numbers, _QUANTILES)))


def spread_or_none(values: NDArray[Any] | Sequence[float]) -> Spread | None:
    """The spread of numbers, None where there is none."""
    return spread(values) if len(values) else None
