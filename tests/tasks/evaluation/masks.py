"""Random masks that look like segmentations, and ways to spoil them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BoolMask = NDArray[np.bool_]


def blobs(shape: tuple[int, ...], seed: int, share: float = 0.3, smooth: float = 1.5) -> BoolMask:
    """Smooth blobs that fill about a share of the image; some touch its edge."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), smooth)
    return np.asarray(field > np.quantile(field, 1 - share))


def shifted(mask: BoolMask, *by: int) -> BoolMask:
    """The mask moved by whole voxels; what leaves the image is lost."""
    return np.asarray(ndimage.shift(mask.astype(np.uint8), by, order=0) > 0)
