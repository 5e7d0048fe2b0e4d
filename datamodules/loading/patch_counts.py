"""How many patches of each training image an epoch has (``--data.patches``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datamodules.samples.patches import STEPS

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule

log = logging.getLogger(__name__)


def patch_counts(data: ScanDataModule, in_batch: int) -> NDArray[np.int64] | None:
    """Number of patches of each sample of the training part, or None where each has one.

    What is counted depends on the images and on the batch of all devices together, so that any number of them trains
    alike.

    Args:
        data: whose patches they are.
        in_batch: samples in a batch of all devices.
    """
    counts = count_patches(data, in_batch)
    if counts is not None and data.patch is not None and data.patch.an_image == "auto":
        total, height, width = int(counts.sum()), *data.patch.size
        log.info(
            "an epoch has %d patches of %d x %d pixels, %d to %d of each of %d images by its area (--data.patches)",
            total, height, width, counts.min(), counts.max(), len(counts),
        )  # fmt: skip
    return counts


def count_patches(data: ScanDataModule, in_batch: int) -> NDArray[np.int64] | None:
    """:func:`patch_counts`, of which nothing is said."""
    if data.patch is None or data.patch.an_image == 1:
        return None
    images = data.samples(data.rows("train")).images
    if data.patch.an_image != "auto":
        return np.full(len(images), data.patch.an_image, np.int64)
    if getattr(data, "slices", None) is not None:  # neighbours look alike: an epoch sees each part of a volume often
        return None
    size_of, spec = data.stored_size, data.preprocess
    sizes = np.array([spec.content_size(size_of(int(image))) for image in images], np.int64)
    counts = data.patch.by_area(sizes, STEPS * in_batch)
    return counts if counts.sum() != len(images) else None
