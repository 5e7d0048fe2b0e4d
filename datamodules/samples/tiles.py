"""Tiles through which a network sees an image that is larger than its input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError


def plan_tiles(size: tuple[int, int], tile: tuple[int, int], overlap: float) -> list[tuple[int, int]]:
    """Cover an image with tiles, as the sliding window of nnU-Net does.

    Along each side the first tile lies at 0 and the last one flush with the edge; those between are evenly spaced, to
    the pixel. F. Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image
    segmentation, Nature Methods 18:203-211, 2021.

    Args:
        size: (H, W) of the image in pixels. A side smaller than the tile's has one tile, at 0.
        tile: (h, w) in pixels.
        overlap: share of a tile that its neighbour covers too, at least; from 0 to below 1.

    Returns:
        (top, left) of each tile, row by row.

    Raises:
        SuiteError: a side is below 1, or the overlap is not allowed.
    """
    if min(*size, *tile) < 1:
        raise SuiteError(f"tiles of {tile} over an image of {size}: sides must be at least 1 pixel")
    if not 0 <= overlap < 1:
        raise SuiteError(f"overlap of tiles {overlap}: must be at least 0 and below 1")
    tops, lefts = (_starts(side, part, overlap) for side, part in zip(size, tile, strict=True))
    return [(top, left) for top in tops for left in lefts]


def patches_seen(size: tuple[int, int], patch: tuple[int, int], tile: tuple[int, int] | None, overlap: float) -> float:
    """How much evaluation sees of an image, in patches of its training: the area of all its tiles by that of a patch.

    Args:
        size: (H, W) of the image in pixels.
        patch: (h, w) of a patch in pixels.
        tile: see :func:`plan_tiles`; None: the image goes through whole.
        overlap: likewise.
    """
    seen = math.prod(size) if tile is None else len(plan_tiles(size, tile, overlap)) * math.prod(tile)
    return seen / math.prod(patch)


def fill_up(part: NDArray[Any], tile: tuple[int, int]) -> NDArray[Any]:
    """(h, w) or (h, w, C) of an image that ends within a tile: its last pixels below and on the right are repeated.

    For patches in training as for tiles in evaluation and prediction: the network sees the same.
    """
    if part.shape[:2] == tile:
        return part
    missing = [(0, tile[0] - part.shape[0]), (0, tile[1] - part.shape[1])]
    return np.pad(part, missing + [(0, 0)] * (part.ndim - 2), mode="edge")


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    if side <= tile:
        return [0]
    # Whole pixels, so that rounding the places never makes a step longer. 100 * (1 - 0.9) is 9.999...: hence the 1e-9.
    longest = max(1, math.floor(tile * (1 - overlap) + 1e-9))
    steps = math.ceil((side - tile) / longest)
    return [round(number * (side - tile) / steps) for number in range(steps + 1)]
