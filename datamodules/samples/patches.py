"""Patches of images that are too large, or too unlike in size, to be seen whole in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.settings import numbers
from scansuite.errors import SuiteError
from scansuite.random_streams import PATCHES

# (h, w) of a patch, the last row and column at which it may begin, and a generator -> (top, left), or None.
Foreground: TypeAlias = Callable[[tuple[int, int], tuple[int, int], np.random.Generator], tuple[int, int] | None]

Patches: TypeAlias = int | Literal["auto"]

# Of an epoch whose patches nobody counts: nnU-Net trains by as many, whatever the images are (Isensee et al. 2021).
STEPS = 250


@dataclass(frozen=True)
class PatchPlace:
    """Place in an image where a patch is taken.

    Attributes:
        size: (h, w) of a patch in pixels.
        foreground_share: share of the random patches whose centre is a pixel of a class, or that hold the centre of a
            box, where the image has one; None leaves all to chance.
        an_image: patches of each image in an epoch; ``auto``: by area.
    """

    size: tuple[int, int]
    foreground_share: float | None = None
    an_image: Patches = 1

    def middle(self, image: tuple[int, int]) -> tuple[int, int]:
        """(top, left) of the patch in the middle of an image of (H, W) pixels."""
        top, left = (max(0, (whole - part) // 2) for whole, part in zip(image, self.size, strict=True))
        return top, left

    def random(
        self, image: tuple[int, int], seed: Sequence[int], foreground: Sequence[Foreground] = ()
    ) -> tuple[int, int]:
        """(top, left) of a patch drawn from a seed.

        Args:
            image: (H, W) in pixels of what shows the scan.
            seed: words of the draw; equal words, equal place.
            foreground: draw a place where there is something to be seen, for ``foreground_share``; the first that knows
                one is taken.
        """
        rng = np.random.default_rng([*seed, PATCHES])
        rows, columns = (max(0, whole - part) for whole, part in zip(image, self.size, strict=True))
        if self.foreground_share is not None and rng.random() < self.foreground_share:
            for place in foreground:
                found = place(self.size, (rows, columns), rng)
                if found is not None:
                    return found
        top, left = (int(rng.integers(most + 1)) for most in (rows, columns))
        return top, left

    def by_area(self, sizes: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """Number of patches of each image in an epoch: as many as would cover it, and at least one.

        Args:
            sizes: (N, 2) height and width of what shows the scan, in pixels.
            most: of all images together. Where it is passed each image has its share, and at least one.
        """
        wanted = np.maximum(1.0, sizes.astype(np.float64).prod(axis=1) / (self.size[0] * self.size[1]))
        if wanted.sum() > most:
            wanted *= most / wanted.sum()
        counts: NDArray[np.int64] = np.maximum(1, np.floor(wanted + 0.5)).astype(np.int64)
        return counts


def patch_place(
    patch_size: int | list[int] | str | None, foreground_share: float | None, zoom: float, patches: Patches = 1
) -> PatchPlace | None:
    """Patches that ``--data.patch_size`` and its companions ask for; None where whole images are trained on.

    Raises:
        SuiteError: a value that cannot be, or a zoom without patches.
    """
    if foreground_share is not None and not 0 < foreground_share < 1:
        raise SuiteError(f"--data.foreground_share {foreground_share}: must lie between 0 and 1")
    if patches != "auto" and patches < 1:
        raise SuiteError(f"--data.patches {patches}: at least 1, or auto")
    sides = numbers(patch_size, "--data.patch_size")
    if sides is None:
        if zoom != 1:
            raise SuiteError("--data.zoom is of patches: give --data.patch_size too")
        return None
    if len(sides) > 2 or min(sides) < 1:
        raise SuiteError(f"--data.patch_size {patch_size}: one side or H,W in pixels")
    return PatchPlace((int(sides[0]), int(sides[-1])), foreground_share, patches)
