"""How unsure a model is of the classes of a case: the mean entropy of the pixels that it calls, or nearly calls.

Source: A. Mehrtash et al., Confidence calibration and predictive uncertainty estimation for deep medical image
segmentation, IEEE TMI 39:3868-3878, 2020, whose mean entropy over the predicted foreground told how good a mask was.
Here pixels above a low probability belong to it too, so that a class that was nearly called is not taken for sure.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.exported.segmentation.entropy import NEARLY_CALLED


def entropy_sums(probabilities: Tensor, called: Tensor, *, overlapping: bool) -> NDArray[np.float64]:
    """Sum of the entropies of the pixels of each image and class, and how many these are.

    A pixel counts for a class where it is called that class, or the class has a probability above
    ``NEARLY_CALLED``. Its entropy is that of the class against all others, -p log2 p - (1 - p) log2 (1 - p).

    Args:
        probabilities: (B, K, H, W) float32 in [0, 1].
        called: what they call: (B, H, W) uint8 class numbers, or (B, K, H, W) regions of 0 and 1.
        overlapping: K are regions by themselves; else class 0 is the background, of which nothing is said.

    Returns:
        (B, C, 2) entropy in bits and number of pixels; C are the classes but background, or the regions.
    """
    sums, pixels = [], []
    for number in range(0 if overlapping else 1, probabilities.shape[1]):  # by class: one map more in memory, not K
        chance = probabilities[:, number].clamp(0, 1)  # the mean of tiles may be above 1 by a rounding
        counted = (chance > NEARLY_CALLED) | (called[:, number] > 0 if overlapping else called == number)
        entropy = torch.special.entr(chance) + torch.special.entr(1 - chance)
        sums.append((entropy * counted).sum((1, 2)))
        pixels.append(counted.sum((1, 2)))
    if not sums:
        return np.zeros((len(probabilities), 0, 2))
    bits = torch.stack(sums, dim=1).cpu().double() / np.log(2)
    return np.asarray(torch.stack([bits, torch.stack(pixels, dim=1).cpu().double()], dim=2).numpy())
