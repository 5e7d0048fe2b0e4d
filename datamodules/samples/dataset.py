"""Samples from the cases of a table: read, preprocessed, augmented, annotated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.evenly import evenly
from datamodules.opened_image import OpenedImage
from datamodules.samples.annotation import Crop
from datamodules.samples.collate import DataSetSample, collate, sample_of
from datamodules.samples.finish import alike, finish
from datamodules.samples.mosaic import mosaic
from datamodules.samples.moving import PackedBatch, pack
from datamodules.samples.patches import PatchPlace
from datamodules.samples.sources import Shown, Source
from datamodules.samples.tiles import fill_up
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.types import Batch, Draw, Sample, ScanInfo
from scansuite.random_streams import MOSAIC_CHOICE

Augment = Callable[..., dict[str, Any]]


class SampleDataset(Dataset[Sample], ABC):
    """The cases of one part, as loaders and memory take them; nothing about it changes once it is made."""

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def sample(self, draw: Draw) -> Sample:
        """The sample of a draw."""

    @abstractmethod
    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Put samples of this data set together."""

    @abstractmethod
    def in_memory(self) -> SampleDataset:
        """Copy of the data set, its images read once and kept."""

    @abstractmethod
    def with_source(self, change: Callable[[Source], Source]) -> SampleDataset:
        """Copy of the data set whose images come from elsewhere: what ``change`` makes of their source."""

    def as_stored(self) -> SampleDataset:
        """Copy of the data set whose samples are as they were stored, where it can hand over such."""
        return self

    @property
    def augments_on_device(self) -> bool:
        """Whether batches are augmented as a whole, in :meth:`finish`."""
        return False

    def packed(self, samples: Sequence[Sample]) -> PackedBatch:
        """Put samples together for the way to a device."""
        return pack(self.collate(samples))

    def finish(self, batch: Batch) -> Batch:
        """A batch of :meth:`as_stored` as the model sees it, on the device where it is."""
        return batch

    @property
    @abstractmethod
    def augmented(self) -> bool:
        """Whether samples are augmented."""

    @property
    @abstractmethod
    def num_images(self) -> int:
        """Number of images that are read."""

    @property
    @abstractmethod
    def pixel_bytes(self) -> float:
        """Bytes that a pixel of an image takes in memory, with all its channels; the largest of some images."""

    def __getitem__(self, draw: Draw | int) -> Sample:
        """A sample, of a draw or of its number.

        Our samplers hand over draws, with the words that augmentation is drawn from. Where a sampler of torch's asks
        for a number the words come from torch's generator, as in other people's data sets.
        """
        if not isinstance(draw, Draw):
            words = (int(torch.randint(2**31, ())),) if self.augmented else ()
            draw = Draw(int(draw), words)
        return cast("Sample", DataSetSample(self.sample(draw), self.collate))


@dataclass(frozen=True, eq=False)
class ScanDataset(SampleDataset):
    """Samples of one image each.

    Attributes:
        source: where images, labels and annotations come from.
        augment: image, seed words, and what annotations hand over -> dict of the same, augmented; or an augmentation
            of whole batches; None outside training.
        patch: what is taken of each image: a random patch where there is ``augment``; else the middle, or one that is
            drawn once for each case where patches are to show foreground; None: all of it.
        mosaic: chance with which a case is shown in a mosaic with three others, where there is ``augment``.
        stored: hand over images and masks as stored, for :meth:`finish`, where nothing but it is still to come.
    """

    source: Source
    augment: Augment | DeviceAugmentation | None = None
    patch: PatchPlace | None = None
    mosaic: float = 0.0
    stored: bool = False

    def __len__(self) -> int:
        return len(self.source.samples)

    @property
    def num_images(self) -> int:
        """Number of images that are read."""
        return len(self)

    @property
    def pixel_bytes(self) -> float:
        """Bytes that a pixel of an image takes in memory, with all its channels; the largest of some images."""
        numbers = evenly(len(self), 8)
        images = (self.source.open(int(number), annotated=False).image.stored for number in numbers)
        return float(max(image.nbytes / (image.shape[0] * image.shape[1]) for image in images))

    @property
    def augmented(self) -> bool:
        """Whether samples are augmented."""
        return self.augment is not None

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Put samples of this data set together."""
        return collate(alike(samples, self.source.preprocess), self.source.annotations)

    def in_memory(self) -> ScanDataset:
        """Copy of the data set, its images read once and kept."""
        return replace(self, source=self.source.in_memory())

    def with_source(self, change: Callable[[Source], Source]) -> ScanDataset:
        """Copy of the data set whose images come from elsewhere: what ``change`` makes of their source."""
        return replace(self, source=change(self.source))

    def as_stored(self) -> ScanDataset:
        """Copy of the data set whose samples are as they were stored."""
        return replace(self, stored=True)

    def finish(self, batch: Batch) -> Batch:
        """A batch as stored as the model sees it, on the device where it is."""
        return finish(batch, self.source.preprocess, self._on_device)

    @property
    def augments_on_device(self) -> bool:
        """Whether batches are augmented as a whole, in :meth:`finish`."""
        return self._on_device is not None

    @property
    def _on_device(self) -> DeviceAugmentation | None:
        return self.augment if isinstance(self.augment, DeviceAugmentation) else None

    def preprocessed(self, number: int) -> tuple[NDArray[np.float32], ScanInfo]:
        """The image (H, W, C) in [0, 1] before augmentation, and what is known of the scan."""
        opened = self.source.open(number, annotated=False)
        return opened.image.tile(0, 0, *opened.image.size), opened.info

    def sample(self, draw: Draw) -> Sample:
        """Image, label and annotations of a case."""
        shown = self._shown(draw)
        if self.mosaic and self.augment is not None:
            shown = self._in_mosaic(draw, shown)
        annotations = self.source.annotations
        arrays: dict[str, Any] = {"image": shown.image}
        for annotation, value in zip(annotations, shown.values, strict=True):
            arrays |= annotation.arrays(value)
        params: NDArray[np.float32] | None = None
        if isinstance(self.augment, DeviceAugmentation):
            params = self.augment.draw(draw.seed)
            if "boxes" in arrays:
                arrays["boxes"], arrays["labels"] = self.augment.move_boxes(params, arrays["boxes"], arrays["labels"])
        elif self.augment is not None:
            arrays = self.augment(arrays.pop("image"), draw.seed, **arrays)
        scan: dict[str, Any] = {**shown.info}
        for annotation in annotations:
            scan |= annotation.scan_facts(shown.content)
        if draw.padding:
            scan["padding"] = True
        sample = sample_of(arrays["image"], shown.limits, cast("ScanInfo", scan))
        if params is not None:
            sample["augment"] = torch.from_numpy(params)
        if self.source.samples.labels is not None:
            sample["label"] = self.source.samples.labels[draw.case]
        for annotation in annotations:
            tensors = annotation.stored_tensors(arrays) if self.stored else annotation.tensors(arrays)
            cast("dict[str, Any]", sample).update(tensors)
        return sample if self.stored or params is None else self._finished(sample)

    def _finished(self, sample: Sample) -> Sample:
        """A sample alone as the model sees it, where the augmentation is one of whole batches."""
        names = [name for name in ("image", "augment", "mask") if name in sample]
        batch = self.finish(cast("Batch", {name: sample.pop(name)[None] for name in names}))
        return cast("Sample", {**sample, **{name: cast("Tensor", value)[0] for name, value in batch.items()}})

    def _shown(self, draw: Draw) -> Shown:
        opened = self.source.open(draw.case)
        size = opened.content
        if self.patch is None:
            image, limits = self._part(opened.image, 0, 0, opened.image.size)
            return Shown(image, opened.values, opened.info, size, limits)
        # Of a scan that is not in memory the patch alone is converted.
        annotated = list(zip(self.source.annotations, opened.values, strict=True))
        if self.augment is None and self.patch.foreground_share is None:
            top, left = self.patch.middle(size)
        else:
            # In validation the same patch each time: of scans with little foreground the middle says nothing of it.
            seed = (draw.case,) if self.augment is None else draw.seed
            foreground = [partial(annotation.foreground, value) for annotation, value in annotated]
            top, left = self.patch.random(size, seed, foreground)
        content = (min(self.patch.size[0], size[0] - top), min(self.patch.size[1], size[1] - left))
        image, limits = self._part(opened.image, top, left, self.patch.size)
        image = fill_up(image, self.patch.size)
        crop = Crop(top, left, self.patch.size, content)
        values = tuple(annotation.crop(value, crop) for annotation, value in annotated)
        # A copy: collating must not hold the whole image, and memory must not change.
        return Shown(np.ascontiguousarray(image), values, opened.info, content, limits)

    def _part(
        self, image: OpenedImage, top: int, left: int, size: tuple[int, int]
    ) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
        """A part of an image as stored with its limits, where that may travel; else as the model sees it."""
        may_travel = self.stored and (self.augment is None or self._on_device is not None)
        return image.part(top, left, *size, stored=may_travel)

    def _in_mosaic(self, draw: Draw, shown: Shown) -> Shown:
        """Perhaps a mosaic of a case and three others, drawn from the seed words."""
        rng = np.random.default_rng([*draw.seed, MOSAIC_CHOICE])
        if rng.random() >= self.mosaic:
            return shown
        others = [
            self._shown(Draw(int(case), (*draw.seed, number)))
            for number, case in enumerate(rng.integers(len(self), size=3), start=1)
        ]
        parts, fill = self._of_one_kind([shown, *others])
        return mosaic(parts, self.source.annotations, draw.seed, fill)

    def _of_one_kind(self, parts: Sequence[Shown]) -> tuple[Sequence[Shown], Any]:
        """Parts as stored where types and limits are equal, else as the model sees them; and what is 0 in them."""
        spec, first = self.source.preprocess, parts[0]
        same = all(
            part.limits is not None
            and first.limits is not None
            and part.image.dtype == first.image.dtype
            and part.image.shape[2:] == first.image.shape[2:]
            and np.array_equal(part.limits, first.limits)
            for part in parts
        )
        dark = spec.darkest(first.image, first.limits) if same and first.limits is not None else None
        if dark is not None:
            return parts, dark
        seen = [
            part if part.limits is None else part._replace(image=spec.scaled(part.image, part.limits), limits=None)
            for part in parts
        ]
        return seen, 0
