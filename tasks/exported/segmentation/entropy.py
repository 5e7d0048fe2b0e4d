"""How unsure a model is of the classes of a case; :mod:`tasks.segment.mask_entropy` says what is measured and why."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEARLY_CALLED = 0.05  # probability of the class above which a pixel is looked at


def entropy_sums(
    probabilities: NDArray[np.float32], called: NDArray[np.uint8], *, overlapping: bool
) -> NDArray[np.float64]:
    """Sum of the entropies of the pixels of each image and class, and how many these are.

    Args:
        probabilities: (B, K, H, W) float32 in [0, 1].
        called: what they call: (B, H, W) uint8 class numbers, or (B, K, H, W) regions of 0 and 1.
        overlapping: K are regions by themselves; else class 0 is the background, of which nothing is said.

    Returns:
        (B, C, 2) entropy in bits and number of pixels; C are the classes but background, or the regions.
    """
    first = 0 if overlapping else 1
    sums = np.zeros((len(probabilities), probabilities.shape[1] - first, 2))
    for number in range(first, probabilities.shape[1]):
        for image, chance in enumerate(probabilities[:, number]):
            own = called[image, number] > 0 if overlapping else called[image] == number
            # The mean of tiles may be above 1 by a rounding. Pixels that do not count have no logarithm to compute.
            some = chance[(chance > NEARLY_CALLED) | own].clip(0, 1)
            sums[image, number - first] = (_entropy(some) + _entropy(1 - some)).sum(dtype=np.float64), some.size
    sums[..., 0] /= np.log(2)
    return sums


def mean_entropy(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, 2) sums of a case -> (C,) mean entropy in [0, 1]; 0 = not even nearly called anywhere."""
    total, pixels = sums.T
    mean: NDArray[np.float64] = np.divide(total, pixels, out=np.zeros(len(sums)), where=pixels > 0)
    return mean.clip(max=1)  # by a rounding


def _entropy(chances: NDArray[np.float32]) -> NDArray[np.float32]:
    part: NDArray[np.float32] = -chances * np.log(chances, out=np.zeros_like(chances), where=chances > 0)
    return part
