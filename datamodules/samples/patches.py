"""Patches of images that are too large, or too unlike in size, to be seen whole in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.settings import numbers
from scansuite.errors import SuiteError
from scansuite.random_streams import PATCHES


@dataclass(frozen=True)
class PatchPlace:
    """Where in an image a patch is taken.

    Attributes:
        size: (h, w) of a patch in pixels.
        foreground_share: share of the random patches whose centre is a pixel of a class, or that hold the centre of a
            box, where the image has one; None leaves all to chance.
    """

    size: tuple[int, int]
    foreground_share: float | None = None

    def middle(self, image: tuple[int, int]) -> tuple[int, int]:
        """(top, left) of the patch in the middle of an image of (H, W) pixels."""
        top, left = (max(0, (whole - part) // 2) for whole, part in zip(image, self.size, strict=True))
        return top, left

    def random(
        self,
        image: tuple[int, int],
        seed: Sequence[int],
        mask: NDArray[Any] | None = None,
        classes: int = 255,
        boxes: NDArray[np.float64] | None = None,
    ) -> tuple[int, int]:
        """(top, left) of a patch drawn from a seed.

        Args:
            image: (H, W) in pixels of what shows the scan.
            seed: words of the draw; equal words, equal place.
            mask: class numbers (H, W) or regions (L, H, W), for ``foreground_share``; filling may follow what shows the
                scan.
            classes: values from 1 to below this are classes, the rest is unknown.
            boxes: (N, 4) xyxy in pixels, for ``foreground_share``.
        """
        rng = np.random.default_rng([*seed, PATCHES])
        free = [max(0, whole - part) for whole, part in zip(image, self.size, strict=True)]
        wanted = rng.random() < self.foreground_share if self.foreground_share is not None else False
        if wanted and mask is not None and any(free):
            inside = (mask > 0) & (mask < classes)
            places = np.flatnonzero(inside.any(axis=0) if mask.ndim == 3 else inside)
            if len(places):
                centre = divmod(int(places[rng.integers(len(places))]), mask.shape[-1])
                top, left = (
                    min(max(0, middle - part // 2), most)
                    for middle, part, most in zip(centre, self.size, free, strict=True)
                )
                return top, left
        if wanted and boxes is not None and len(boxes):
            x1, y1, x2, y2 = boxes[rng.integers(len(boxes))]
            # Anywhere in the patch, not in its middle: where it lies must tell nothing.
            top, left = (
                min(max(0, int(middle) - int(rng.integers(part))), most)
                for middle, part, most in zip(((y1 + y2) / 2, (x1 + x2) / 2), self.size, free, strict=True)
            )
            return top, left
        top, left = (int(rng.integers(most + 1)) for most in free)
        return top, left

    def cut(self, array: NDArray[Any], top: int, left: int) -> NDArray[Any]:
        """The patch of a (..., H, W) array; what is missing below and right repeats the last row and column."""
        height, width = self.size
        part = array[..., top : top + height, left : left + width]
        missing = [(0, 0)] * (array.ndim - 2) + [(0, height - part.shape[-2]), (0, width - part.shape[-1])]
        return np.pad(part, missing, mode="edge") if any(after for _, after in missing) else part


def patch_place(
    patch_size: int | list[int] | str | None, foreground_share: float | None, zoom: float
) -> PatchPlace | None:
    """What ``--data.patch_size`` and ``foreground_share`` ask for; None where whole images are trained on.

    Raises:
        SuiteError: a value that cannot be, or a zoom without patches.
    """
    if foreground_share is not None and not 0 < foreground_share < 1:
        raise SuiteError(f"--data.foreground_share {foreground_share}: must lie between 0 and 1")
    sides = numbers(patch_size, "--data.patch_size")
    if sides is None:
        if zoom != 1:
            raise SuiteError("--data.zoom is of patches: give --data.patch_size too")
        return None
    if len(sides) > 2 or min(sides) < 1:
        raise SuiteError(f"--data.patch_size {patch_size}: one side or H,W in pixels")
    return PatchPlace((int(sides[0]), int(sides[-1])), foreground_share)
