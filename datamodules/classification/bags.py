"""Cases of many images as one sample each: which of their images are shown, and how batches are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.classification.bag_images import drawn, spaced
from datamodules.samples.dataset import SampleDataset, ScanDataset
from datamodules.samples.finish import alike
from datamodules.samples.moving import MovingBatch
from datamodules.samples.sources import Source
from datamodules.types import BagImage, Batch, Draw, Sample, ScanInfo


@dataclass(frozen=True, eq=False)
class BagDataset(SampleDataset):
    """The cases of one part, each a bag of images.

    Attributes:
        single: all images of the cases, those of a case one after the other; without labels.
        counts: (N,) images of each case.
        scans: identity of each case.
        labels: (N, ...) target of each case, or None.
        size: images of a case in training, drawn anew each time.
        limit: images of a case in evaluation, evenly spaced; 0 for all.
    """

    single: ScanDataset
    counts: Sequence[int]
    scans: Sequence[ScanInfo]
    labels: Tensor | None
    size: int
    limit: int

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def num_images(self) -> int:
        """Number of images that are read."""
        return len(self.single)

    @property
    def pixel_bytes(self) -> float:
        """Bytes that a pixel of an image takes in memory, with all its channels."""
        return self.single.pixel_bytes

    @property
    def augmented(self) -> bool:
        """Whether images are augmented."""
        return self.single.augmented

    def in_memory(self) -> BagDataset:
        """Copy of the bags, their images read once and kept."""
        return replace(self, single=self.single.in_memory())

    def with_source(self, change: Callable[[Source], Source]) -> BagDataset:
        """Copy of the bags whose images come from elsewhere: what ``change`` makes of their source."""
        return replace(self, single=self.single.with_source(change))

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Put bags together."""
        return collate_bags(alike(samples, self.single.source.preprocess))

    def as_stored(self) -> BagDataset:
        """Copy of the bags whose images are as they were stored."""
        return replace(self, single=self.single.as_stored())

    @property
    def augments_on_device(self) -> bool:
        """Whether batches are augmented as a whole, in :meth:`finish`."""
        return self.single.augments_on_device

    def finish(self, batch: Batch) -> Batch:
        """A batch as stored as the model sees it, on the device where it is."""
        return self.single.finish(batch)

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        """Number of the first image of each case."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def sample(self, draw: Draw) -> Sample:
        """The images (n, C, H, W) of a case; in training (where there is an augmentation) some of them."""
        count = self.counts[draw.case]
        chosen = drawn(count, self.size, draw.seed) if self.augmented else spaced(count, self.limit)
        first = self._first[draw.case]
        samples = [self.single.sample(Draw(int(first + number), (*draw.seed, int(number)))) for number in chosen]
        sample = bag_of(alike(samples, self.single.source.preprocess), self.scans[draw.case])
        if draw.padding:
            sample["scan"]["padding"] = True
        if self.labels is not None:
            sample["label"] = self.labels[draw.case]
        return sample


def collate_bags(samples: Sequence[Sample]) -> Batch:
    """Put bags together: their images one after the other, channels last in memory."""
    images = torch.cat([sample["image"].permute(0, 2, 3, 1) for sample in samples]).permute(0, 3, 1, 2)
    batch = MovingBatch(
        image=images, bags=[sample["bag"] for sample in samples], scan=[sample["scan"] for sample in samples]
    )
    if "label" in samples[0]:
        batch["label"] = torch.stack([sample["label"] for sample in samples])
    for name in ("limits", "augment"):
        if name in samples[0]:
            batch[name] = torch.cat([cast("dict[str, Any]", sample)[name] for sample in samples])
    return cast("Batch", batch)


def bag_of(samples: Sequence[Sample], identity: ScanInfo) -> Sample:
    """The images of a case as one sample; size and spacing as stored are those of the first of them."""
    image = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    scans = [sample["scan"] for sample in samples]
    scan = cast("ScanInfo", {**scans[0], **identity})
    scan.pop("slice", None)
    bag = [BagImage(one["path"], -1 if (index := one.get("slice")) is None else index) for one in scans]
    whole = Sample(image=image, bag=bag, scan=scan)
    for name in ("limits", "augment"):
        if name in samples[0]:
            cast("dict[str, Any]", whole)[name] = torch.stack([cast("dict[str, Any]", one)[name] for one in samples])
    return whole
