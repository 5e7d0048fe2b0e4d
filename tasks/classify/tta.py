"""Test-time augmentation of a classifier: the mean over views of what should be the same of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from tasks.views import VIEWS, Tta


def averaged(predict: Callable[[Tensor], Tensor], image: Tensor, mode: Tta) -> Tensor:
    """Average a network's features or logits over the image and its mirror images.

    A classifier that is linear in what is averaged gives the mean of its logits over the views (A. Krizhevsky, I.
    Sutskever and G. Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012, average over
    reflections likewise); any head gives the same for an image and its mirror image.

    Args:
        predict: (B, C, H, W) images -> (B, F).
        image: (B, C, H, W).
        mode: see :data:`~tasks.views.VIEWS`; each view is a pass through the network.

    Returns:
        (B, F).
    """
    return mean_of([predict(view) for view in views_of(image, mode)])


def views_of(image: Tensor, mode: Tta) -> list[Tensor]:
    """The views of (B, C, H, W) images.

    The image as it is comes last: what listens to a layer (maps that explain, features to imitate) keeps its maps.
    """
    return [image.flip(dims) if dims else image for dims in reversed(VIEWS[mode])]


def flipped_back(maps: Sequence[Tensor], mode: Tta) -> Tensor:
    """The mean of (B, K, h, w) maps of :func:`views_of` an image, each mirrored back."""
    return mean_of([one.flip(dims) if dims else one for one, dims in zip(maps, reversed(VIEWS[mode]), strict=True)])


def mean_of(views: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape; of one alone that itself, to the bit."""
    total, *others = views
    for one in others:
        total = total + one
    return total / len(views) if others else total
