"""Test-time augmentation: the mean over views of the image that should give the same mask."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tasks.views import VIEWS, Tta


def averaged(predict: Callable[[Tensor], Tensor], image: Tensor, mode: Tta) -> Tensor:
    """Average a network's probabilities over the image and its flips, each flipped back.

    Flips in both directions are what F. Isensee et al., nnU-Net, Nature Methods 18:203-211, 2021, predict with.

    Args:
        predict: (B, C, H, W) images -> (B, K, H, W) probabilities in [0, 1].
        image: (B, C, H, W).
        mode: ``none`` predicts the image alone; ``mirror`` also mirrored left to right; ``flips`` top to
            bottom and both ways too: four times the work.

    Returns:
        (B, K, H, W) mean probabilities.
    """
    views = VIEWS[mode]
    total = predict(image)  # the first view is the image as it is
    for dims in views[1:]:
        total = total + predict(image.flip(dims)).flip(dims)
    return total / len(views) if len(views) > 1 else total
