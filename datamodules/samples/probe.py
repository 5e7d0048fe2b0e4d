"""A look at some images of a data set, to choose what the user left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datamodules.evenly import evenly
from datamodules.types import Scan

if TYPE_CHECKING:
    from datamodules.samples.dataset import ScanDataset


@dataclass(frozen=True)
class ImageFacts:
    """Facts that images have in common.

    Attributes:
        size: (H, W) where all have one size, else None.
        channels: 1 where all are grey (also grey stored as colour), the stored count without alpha where all agree on
            one, else 3.
        smallest: (H, W), the least of each side, of the images that were looked at; None: not looked at.
        largest: likewise, the most.
        kinds: how channels are stored, in words.
    """

    size: tuple[int, int] | None
    channels: int
    smallest: tuple[int, int] | None = field(default=None, compare=False)
    largest: tuple[int, int] | None = field(default=None, compare=False)
    kinds: tuple[str, ...] = field(default=(), compare=False)


def probe_images(read: Callable[[int], Scan], images: NDArray[np.int64], most: int = 48) -> ImageFacts:
    """Read up to ``most`` images, evenly spaced, and say what they have in common.

    Args:
        read: row number of an image -> the scan as stored.
        images: row numbers to choose from, at least one.
        most: how many are read.
    """
    from datamodules.readers.raster import is_grey

    chosen = images[evenly(len(images), most)]
    sizes: set[tuple[int, int]] = set()
    counts: set[int] = set()
    kinds: set[str] = set()
    for image in chosen:
        scan = read(int(image))
        array = scan.array
        sizes.add((array.shape[0], array.shape[1]))
        kinds.add(_kind(array.shape[2] if array.ndim == 3 else 1, alpha=bool(scan.info.get("alpha", True))))
        if not scan.info.get("alpha", True):
            counts.add(array.shape[2] if array.ndim == 3 else 1)
        else:
            counts.add(1 if is_grey(array) else 3 if array.shape[2] == 4 else array.shape[2])
    channels = counts.pop() if len(counts) == 1 else 3
    smallest, largest = ((end(high for high, _ in sizes), end(wide for _, wide in sizes)) for end in (min, max))
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return ImageFacts(size, channels, smallest, largest, tuple(sorted(kinds)))


def _kind(channels: int, *, alpha: bool) -> str:
    """How so many channels are called."""
    names = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"} if alpha else {1: "grey", 3: "RGB"}
    return names.get(channels, f"{channels} channels")


def channel_statistics(dataset: ScanDataset, channels: int, most: int = 512) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in [0, 1] over (at most ``most``) images, without their filling."""
    chosen = evenly(len(dataset), most)
    sums = np.zeros((2, channels))
    for case in chosen:
        image, info = dataset.preprocessed(int(case))
        height, width = info.get("content_size", image.shape[:2])  # beyond it is filling
        image = image[:height, :width].astype(np.float64)
        sums += image.mean(axis=(0, 1)), np.square(image).mean(axis=(0, 1))
    mean, square = sums / len(chosen)
    deviation = np.sqrt(np.maximum(square - mean**2, 1e-12))
    return mean.tolist(), deviation.tolist()
