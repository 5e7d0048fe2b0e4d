"""Test-time augmentation: the mean over views of the image that should give the same mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Tta = Literal["none", "flips"]

# Dimensions of (B, C, H, W) that are reversed, for each view.
_VIEWS: dict[Tta, tuple[tuple[int, ...], ...]] = {"none": ((),), "flips": ((), (-1,), (-2,), (-2, -1))}


def averaged(predict: Callable[[Tensor], Tensor], image: Tensor, mode: Tta) -> Tensor:
    """Average a network's probabilities over the image and its flips, each flipped back.

    Flips in both directions are what F. Isensee et al., nnU-Net, Nature Methods 18:203-211, 2021, predict with.

    Args:
        predict: (B, C, H, W) images -> (B, K, H, W) probabilities in [0, 1].
        image: (B, C, H, W).
        mode: ``none`` predicts the image alone; ``flips`` also mirrored left to right, top to bottom, and both: four
            times the work.

    Returns:
        (B, K, H, W) mean probabilities.
    """
    views = _VIEWS[mode]
    total = predict(image)  # the first view is the image as it is
    for dims in views[1:]:
        total = total + predict(image.flip(dims)).flip(dims)
    return total / len(views) if len(views) > 1 else total
