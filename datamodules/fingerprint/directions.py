"""Whether images have an up and a down, a left and a right: what their halves differ in, from image to image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 8
LEAST_IMAGES = 8  # fewer may be alike by chance
UPRIGHT = 0.35  # of the strength, from which on images count as upright


def profiles(grey: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Means of an image's rows and of its columns, in eight bins each, as parts of its standard deviation.

    Args:
        grey: (H, W), finite.

    Returns:
        Each of mean 0 and length 0 to 1 (the rows alone say how bright a pixel is); None where the image is constant,
        or has fewer than eight rows or columns.
    """
    if min(grey.shape) < BINS:
        return None
    deviation = float(grey.std())
    if not np.isfinite(deviation) or deviation <= 1e-9 * max(1e-300, float(np.abs(grey).max())):
        return None
    rows, columns = (
        np.array([part.mean() for part in np.array_split(grey.mean(axis=axis), BINS)]) - grey.mean() for axis in (1, 0)
    )
    return rows / (deviation * np.sqrt(BINS)), columns / (deviation * np.sqrt(BINS))


def strength(found: list[NDArray[np.float64]]) -> float:
    """How alike the difference between the two ends is from image to image.

    A profile's odd part (what changes its sign where the image is turned over) is averaged over the images: its length
    is near 0 where images lie in any direction. What chance alone leaves of it is taken off.

    Args:
        found: profiles of the images, see :func:`profiles`.

    Returns:
        0 (chance, or fewer than eight images) to 1 (all images alike, and nothing in them but that difference).
    """
    if len(found) < LEAST_IMAGES:
        return 0.0
    together = np.stack(found)
    odd = (together - together[:, ::-1]) / 2
    mean = odd.mean(axis=0)
    chance = float(np.square(odd - mean).sum()) / (len(odd) * (len(odd) - 1))
    return float(np.sqrt(max(0.0, float(np.square(mean).sum()) - chance)))
