"""Probability maps of an exported segmentation model as numpy arrays: called, blended, averaged over mirror images."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tasks.exported.segmentation.assemble import FLOOR, Assembly, CalledImage, Size
from tasks.exported.segmentation.entropy import entropy_sums
from tasks.exported.segmentation.resizing import resize_probabilities

FloatMaps = NDArray[np.float32]

# Dimensions of (B, C, H, W) that are reversed, for each view.
_VIEWS: dict[str, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "mirror": ((), (-1,)),
    "flips": ((), (-1,), (-2,), (-2, -1)),
}


def averaged(predict: Callable[[FloatMaps], FloatMaps], image: FloatMaps, mode: str) -> FloatMaps:
    """Average a network's probabilities over the image and its flips; see :func:`tasks.segment.tta.averaged`.

    Args:
        predict: (B, C, H, W) images -> (B, K, H, W) probabilities in [0, 1], memory of their own.
        image: (B, C, H, W).
        mode: ``none``, ``mirror`` or ``flips``.
    """
    views = _VIEWS[mode]
    total = predict(image)  # the first view is the image as it is
    for axes in views[1:]:
        total += np.flip(predict(np.ascontiguousarray(np.flip(image, axes))), axes)
    if len(views) > 1:
        total /= len(views)
    return total


@lru_cache(maxsize=4)
def gaussian_weights(tile: Size) -> FloatMaps:
    """(h, w) float32 in [0.001, 1]: weights of a tile's pixels, as :func:`tasks.segment.assemble.gaussian_weights`."""
    rows, columns = (np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (side / 8)) ** 2) for side in tile)
    return np.outer(rows, columns).clip(min=FLOOR).astype(np.float32)


def call_classes(probabilities: FloatMaps, *, overlapping: bool) -> NDArray[np.uint8]:
    """(B, K, H, W) probabilities -> (B, H, W) uint8 class numbers, or (B, K, H, W) uint8 regions: 1 above 0.5."""
    if overlapping:
        return (probabilities > 0.5).astype(np.uint8)
    # A class after the other: numpy's argmax over an axis that is not the last one is four times as slow.
    most = probabilities[:, 0].copy()
    called = np.zeros(most.shape, np.uint8)
    for number in range(1, probabilities.shape[1]):
        own = probabilities[:, number]
        called[own > most] = number
        np.maximum(most, own, out=most)
    return called


class TileBlend:
    """The weighted mean of overlapping tiles; see :class:`~tasks.exported.segmentation.assemble.Blend`.

    Args:
        classes: K of the probabilities.
        rows: height of the band: of a tile, or of the image where it is wanted whole.
        width: of the image.
    """

    def __init__(self, classes: int, rows: int, width: int) -> None:
        self.top = 0
        self.total = np.zeros((classes, rows, width), np.float32)
        self.weight = np.zeros((rows, width), np.float32)

    def add(self, probabilities: FloatMaps, weights: FloatMaps, top: int, left: int) -> None:
        """Add a tile."""
        if top < self.top:
            raise ValueError(f"a tile begins at row {top}, but those above {self.top} are called: out of order")
        top -= self.top
        rows = max(0, min(weights.shape[0], self.weight.shape[0] - top))
        columns = max(0, min(weights.shape[1], self.weight.shape[1] - left))
        weights = weights[:rows, :columns]
        place = (..., slice(top, top + rows), slice(left, left + columns))
        self.total[place] += probabilities[:, :rows, :columns] * weights
        self.weight[place] += weights

    def advance(self, top: int) -> FloatMaps:
        """Move the band down."""
        done, rows = top - self.top, self.weight.shape[0]
        if done > rows:
            raise ValueError(f"no tile held rows {self.top + rows} to {top}: out of order")
        mean = self.total[:, :done] / self.weight[:done]
        for band in (self.total, self.weight):
            band[..., : rows - done, :] = band[..., done:, :]
            band[..., rows - done :, :] = 0
        self.top = top
        return mean


class MapAssembly(Assembly[FloatMaps]):
    """Puts cases together from numpy arrays."""

    def call(self, probabilities: FloatMaps) -> list[CalledImage]:
        """See :class:`~tasks.exported.segmentation.assemble.Assembly`."""
        called = call_classes(probabilities, overlapping=self.overlapping)
        sums = entropy_sums(probabilities, called, overlapping=self.overlapping)
        return [CalledImage(mask, own) for mask, own in zip(called, sums, strict=True)]

    def resize(self, probabilities: FloatMaps, size: Size) -> FloatMaps:
        """See :func:`~tasks.exported.segmentation.resizing.resize_probabilities`."""
        return resize_probabilities(probabilities, size)

    def blend(self, like: FloatMaps, rows: int, width: int) -> TileBlend:
        """See :class:`TileBlend`."""
        return TileBlend(len(like), rows, width)

    def weights(self, like: FloatMaps) -> FloatMaps:
        """See :func:`gaussian_weights`."""
        return gaussian_weights((like.shape[-2], like.shape[-1]))
