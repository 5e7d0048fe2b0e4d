"""Share of the range of values that a network would see of an image, by the scale that training would use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.settings import pair
from datamodules.types import Scan, ScanInfo
from datamodules.windows import parse_windows

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule

_MIDDLE = (0.1, 99.9)  # percentiles: a few hot pixels are no picture


def scale_of(data: ScanDataModule, *, volumes: bool) -> Preprocess | None:
    """Preprocessing that turns stored values into those that a network sees, of one channel and of any size.

    Args:
        data: whose flags say it.
        volumes: whole volumes are meant.

    Returns:
        None where percentiles of each image, or of each volume, fill the range.
    """
    if data.percentiles is not None or (volumes and data.window is None and data.value_range is None):
        return None
    windows = parse_windows(data.window)
    value_range = pair(data.value_range, "--data.value_range")
    return Preprocess(channels=max(1, len(windows)), windows=windows, value_range=value_range, gamma=data.gamma)


def is_given(scale: Preprocess | None) -> bool:
    """Whether the user has said what becomes black and white."""
    return scale is None or len(scale.windows) > 0 or scale.value_range is not None


def seen(values: NDArray[Any], scale: Preprocess, info: ScanInfo) -> tuple[float, float]:
    """The darkest and the brightest, within 0 to 1, that a network sees of some values.

    Args:
        values: (N,) as stored.
        scale: see :func:`scale_of`; of several windows the one that shows most counts.
        info: what the file says of them.

    Raises:
        SuiteError: the values have no scale, so that training would stop.
    """
    with np.errstate(over="ignore"):  # values beyond float32 are refused as infinite
        image = scale(Scan(values[None], cast("ScanInfo", {"path": "values", **info})))
    low, high = np.percentile(image[0], _MIDDLE, axis=0)
    widest = int((high - low).argmax())
    return float(low[widest]), float(high[widest])
