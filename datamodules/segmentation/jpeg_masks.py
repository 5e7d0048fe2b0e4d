"""Masks that were saved as JPEG: which of them can still be told, and what they held."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.raster import is_grey
from scansuite.errors import SuiteError

SPLIT = 128  # white from here on
# Grey values up to this far from 0 and 255 are between black and white: only outlines have them.
_NEAR = 64
# JPEG codes blocks of 8 x 8 pixels. Of two values, one without an outline stays flat and within 8 grades of black or
# white, also where it was compressed, resized and compressed again (qualities 30 to 95): flat grey was a third value.
_BLOCK, _FLAT, _FLAT_NEAR = 8, 8, 12
# Pixels between black and white, by sides of pixels at which the split changes: 0.6 and fewer at qualities from 10 on,
# 1.9 where the mask was enlarged four times before that. And by all pixels: noise has an outline everywhere.
_MOST_BETWEEN, _MOST_SHARE = 2.0, 0.2
_CHROMA = 32  # grades by which the channels of what was grey may differ


def refuse_jpeg(where: str) -> SuiteError:
    """The error of a mask that JPEG has spoilt, to be raised.

    Args:
        where: the file.
    """
    return SuiteError(
        f"{where}: JPEG has changed the values of this mask: save it as PNG again, from where it was drawn (JPEG "
        "serves for masks of black and white alone: --data.mask_kind binary)",
        kind="unknown_value",
    )


def black_and_white(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """What a mask of two values held before it was saved as JPEG: the one place that decides.

    JPEG rings around outlines and leaves flat areas as they are; so the mask held black and white alone if no block of
    it is flat and grey, and what lies between the two lies along outlines. It is split at :data:`SPLIT`.

    Args:
        array: decoded JPEG, (H, W) or (H, W, 3) of uint8; the channels may differ by what JPEG does to colours.
        where: the file, for messages.

    Returns:
        (H, W) of 0 and 255.

    Raises:
        SuiteError: it held other values, or colours.
    """
    grey = _grey(array)
    if grey is None or not _held_two_values(grey):
        raise refuse_jpeg(where)
    return np.where(grey >= SPLIT, np.uint8(255), np.uint8(0))


def _grey(array: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Grey values, or None of colours."""
    if array.ndim == 2:
        return array
    if is_grey(array):  # as most are, and sooner told than computed
        return np.ascontiguousarray(array[:, :, 0])
    if int((array.max(axis=2) - array.min(axis=2)).max()) > _CHROMA:
        return None
    grey: NDArray[np.uint8] = (array.sum(axis=2, dtype=np.uint16) // array.shape[2]).astype(np.uint8)
    return grey


def _held_two_values(grey: NDArray[np.uint8]) -> bool:
    darkest, brightest = int(grey.min()), int(grey.max())
    if brightest < 256 - _NEAR:  # no white: black all over, or numbers of classes (0, 1, 2), which JPEG has mixed
        return darkest == brightest <= _FLAT_NEAR
    low, high = _blocks(grey)
    flat_grey = (high - low <= _FLAT) & (high > _FLAT_NEAR) & (low < 255 - _FLAT_NEAR)
    if flat_grey.any():
        return False
    white = grey >= SPLIT
    sides = int((white[1:] != white[:-1]).sum()) + int((white[:, 1:] != white[:, :-1]).sum())
    between = int(((grey >= _NEAR) & (grey < 256 - _NEAR)).sum())
    return between <= min(_MOST_BETWEEN * sides, _MOST_SHARE * grey.size)


def _blocks(grey: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The lowest and the highest value of each whole block of 8 x 8 pixels."""
    rows, columns = (size // _BLOCK for size in grey.shape)
    whole = grey[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns * _BLOCK)
    low, high = (each.reshape(rows, columns, _BLOCK) for each in (whole.min(axis=1), whole.max(axis=1)))
    return low.min(axis=2), high.max(axis=2)
