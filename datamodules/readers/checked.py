"""Checks of what a user's own decoder returns, and its words; the suite's have tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.format_table import Format, own_formats
from datamodules.readers.grid import Grid, Volume, check_volume, is_invertible
from datamodules.readers.limits import Limits
from datamodules.readers.named_errors import decoder_words, own_words


def words_of(found: Format) -> Callable[[Exception], str]:
    """What is said of an exception of a decoder: of a user's own, who is to mend it, as it stands."""
    return own_words if found in own_formats() else decoder_words


def check_image(array: NDArray[Any], found: Format, limits: Limits) -> None:
    """Refuse what is no image.

    Raises:
        TypeError: it is no array of numbers.
        ValueError: it has no pixels, has other axes than (H, W) or (H, W, C), or is larger than allowed.
    """
    if found not in own_formats():
        return
    _check_numbers(array, found)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"the reader of {found.name} gives an array of shape {array.shape}, not (H, W) or (H, W, C)")
    limits.check_pixels(array.shape[1], array.shape[0])
    limits.check_bytes(array.nbytes)


def check_grid(grid: Grid, found: Format, limits: Limits, *, decoded: bool) -> None:
    """Refuse what is no volume, or no grid of one.

    Raises:
        TypeError: it is neither, or has no numbers.
        ValueError: shape and array differ, the affine cannot be inverted, or it is larger than allowed.
    """
    if found not in own_formats():
        return
    if not isinstance(grid, Volume if decoded else Grid):
        raise TypeError(f"the reader of {found.name} gives a {type(grid).__name__}, not a Volume")
    if len(grid.shape) != 3 or min(grid.shape) < 1 or np.shape(grid.affine) != (4, 4) or not is_invertible(grid.affine):
        raise ValueError(f"the reader of {found.name} gives no (X, Y, Z) voxels with an affine that can be inverted")
    check_volume(grid.shape, 1, limits)
    if isinstance(grid, Volume):
        _check_numbers(grid.array, found)
        if grid.array.shape[:3] != grid.shape or grid.array.ndim > 4:
            raise ValueError(
                f"the reader of {found.name} gives an array of shape {grid.array.shape} for voxels of {grid.shape}"
            )
        check_volume(grid.array.shape, grid.array.itemsize, limits)


def _check_numbers(array: NDArray[Any], found: Format) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        what = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"the reader of {found.name} gives {what}, not an array of numbers")
