"""Cases of many images as one sample each: which of their images are shown, and how batches are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.samples.dataset import ScanDataset
from datamodules.types import BagImage, Batch, Draw, Sample, ScanInfo
from scansuite.random_streams import BAGS


def drawn(images: int, wanted: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the images of a case to train on: one at random of each of ``wanted`` stretches of equal length.

    Args:
        images: how many there are.
        wanted: how many are taken; all where there are no more.
        seed: words of the draw; equal words, equal images.

    Returns:
        Ascending numbers 0..images-1, none twice.
    """
    if images <= wanted:
        return np.arange(images)
    edges = np.arange(wanted + 1) * images // wanted
    return np.random.default_rng([*seed, BAGS]).integers(edges[:-1], edges[1:])


def spaced(images: int, limit: int) -> NDArray[np.int64]:
    """Numbers of the images of a case to judge: all, or ``limit`` of them, evenly spaced; a limit of 0 is none."""
    if limit == 0 or images <= limit:
        return np.arange(images)
    return ((np.arange(limit) + 0.5) * images / limit).astype(np.int64)


class BagDataset(ScanDataset):
    """The cases of one part, each a bag of images.

    Args:
        single: all images of the cases, those of a case one after the other.
        counts: (N,) images of each case.
        scans: identity of each case.
        labels: (N, ...) target of each case, or None.
        size: images of a case in training, drawn anew each time.
        limit: images of a case in judging, evenly spaced; 0 for all.
    """

    def __init__(
        self,
        single: ScanDataset,
        counts: Sequence[int],
        scans: Sequence[ScanInfo],
        labels: Tensor | None,
        *,
        size: int,
        limit: int,
    ) -> None:
        super().__init__(single.read, single.images, scans, single.preprocess, labels, single.augment)
        self.single, self.counts, self.size, self.limit = single, list(counts), size, limit
        self._first = np.concatenate([[0], np.cumsum(self.counts)]).astype(int)

    def __len__(self) -> int:
        return len(self.counts)

    def fill(self) -> None:
        """Read every image once and keep it."""
        self.single.fill()

    def __getitem__(self, draw: Draw | int) -> Sample:
        """The images (n, C, H, W) of a case; in training (where there is an augmentation) some of them."""
        if not isinstance(draw, Draw):
            draw = Draw(draw)
        count = self.counts[draw.case]
        chosen = spaced(count, self.limit) if self.augment is None else drawn(count, self.size, draw.seed)
        first = self._first[draw.case]
        samples = [self.single[Draw(int(first + number), (*draw.seed, int(number)))] for number in chosen]
        sample = bag_of(samples, self.scans[draw.case])
        if draw.padding:
            sample["scan"]["padding"] = True
        if self.labels is not None:
            sample["label"] = self.labels[draw.case]
        return sample

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """Put bags together: their images one after the other, channels last in memory."""
        images = torch.cat([sample["image"].permute(0, 2, 3, 1) for sample in samples]).permute(0, 3, 1, 2)
        batch = Batch(
            image=images, bags=[sample["bag"] for sample in samples], scan=[sample["scan"] for sample in samples]
        )
        if "label" in samples[0]:
            batch["label"] = torch.stack([sample["label"] for sample in samples])
        return batch


def bag_of(samples: Sequence[Sample], identity: ScanInfo) -> Sample:
    """The images of a case as one sample; size and spacing as stored are those of the first of them."""
    image = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    scans = [sample["scan"] for sample in samples]
    scan = cast("ScanInfo", {**scans[0], **identity})
    scan.pop("slice", None)
    bag = [BagImage(one["path"], -1 if (index := one.get("slice")) is None else index) for one in scans]
    return Sample(image=image, bag=bag, scan=scan)
