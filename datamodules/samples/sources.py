"""Sources of samples: scans and annotations as they are read, or kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.preprocess import Preprocess
from datamodules.samples.annotation import Annotation
from datamodules.types import Scan, ScanInfo


@dataclass(frozen=True)
class Samples:
    """Images that are the samples of a data set.

    Attributes:
        images: (N,) row number of the image of each sample.
        scans: identity of each (case_id, patient_id, path), merged over what the reader says.
        labels: (N, ...) target of each, or None where nothing is known (predict).
    """

    images: NDArray[np.int64]
    scans: Sequence[ScanInfo]
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


class TiledImage(Protocol):
    """A model's image of which parts can be had: an :class:`~datamodules.preprocess.OpenedImage`, or one in memory."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""

    def tile(self, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        """(h, w, C) of the image; rows and columns beyond its edge are left out."""


class Opened(NamedTuple):
    """A sample before anything of it is shown.

    Attributes:
        image: the model's image.
        values: of the annotations, on the model's image.
        info: what is known of the scan.
    """

    image: TiledImage
    values: tuple[Any, ...]
    info: ScanInfo

    @property
    def content(self) -> tuple[int, int]:
        """(h, w) of the model's image that show the scan; what follows was filled up."""
        return self.info.get("content_size", self.image.size)


class Shown(NamedTuple):
    """View of a sample before augmentation, as the model is shown it.

    Attributes:
        image: (H, W, C) float32 in [0, 1].
        values: of the annotations, in pixels of the image.
        info: what is known of the scan.
        content: (h, w) of the image that show the scan.
    """

    image: NDArray[np.float32]
    values: tuple[Any, ...]
    info: ScanInfo
    content: tuple[int, int]


class Source(Protocol):
    """Samples that can be opened one by one. It is pickled for the processes of a loader."""

    @property
    def samples(self) -> Samples:
        """Images, and their labels."""

    @property
    def annotations(self) -> tuple[Annotation[Any], ...]:
        """Annotations that samples have beside images."""

    def open(self, number: int, *, annotated: bool = True) -> Opened:
        """A sample, with its annotations or without."""

    def in_memory(self) -> Source:
        """Copy of the samples, read once and kept."""


@dataclass(frozen=True)
class ScanSource:
    """Samples that are read each time.

    Attributes:
        read: row number of an image -> the scan as stored.
        samples: which images.
        preprocess: stored values -> (H, W, C) float32 in [0, 1].
        annotations: what samples have beside images.
    """

    read: Callable[[int], Scan]
    samples: Samples
    preprocess: Preprocess
    annotations: tuple[Annotation[Any], ...] = ()

    def open(self, number: int, *, annotated: bool = True) -> Opened:
        """Read a scan and what it is annotated with."""
        image = int(self.samples.images[number])
        scan = self.read(image)
        stored = (scan.array.shape[0], scan.array.shape[1])
        info = cast("ScanInfo", {**scan.info, **self.samples.scans[number]})
        if self.preprocess.fills:
            info["content_size"] = self.preprocess.content_size(stored)
        opened = self.preprocess.opened(scan)
        values = tuple(
            annotation.scale(annotation.read(image, scan), stored, self.preprocess)
            for annotation in (self.annotations if annotated else ())
        )
        return Opened(opened, values, info)

    def in_memory(self) -> KeptSource:
        """Read every sample once; processes of loaders that are made afterwards share the memory."""
        count = len(self.samples)
        one_size = self.preprocess.size is not None
        images: NDArray[np.float32] | list[NDArray[np.float32]] = []
        values: list[Any] = []
        scans: list[ScanInfo] = []
        for number in range(count):
            opened = self.open(number)
            image = opened.image.tile(0, 0, *opened.image.size)
            if number == 0:
                images = np.empty((count, *image.shape), np.float32) if one_size else []
                values = [
                    annotation.memory(value, count, one_size=one_size)
                    for annotation, value in zip(self.annotations, opened.values, strict=True)
                ]
            if isinstance(images, list):
                images.append(image)
            else:
                images[number] = image
            for kept, value in zip(values, opened.values, strict=True):
                kept[number] = value
            scans.append(opened.info)
        return KeptSource(Samples(self.samples.images, scans, self.samples.labels), images, values, self.annotations)


@dataclass(frozen=True)
class KeptSource:
    """Samples in memory.

    Attributes:
        samples: which images, with all that is known of the scans.
        images: the model's image of each sample, (H, W, C) float32 in [0, 1].
        values: of each annotation, one for each sample.
        annotations: what they are of.
    """

    samples: Samples
    images: NDArray[np.float32] | Sequence[NDArray[np.float32]]
    values: Sequence[Sequence[Any]]
    annotations: tuple[Annotation[Any], ...]

    def open(self, number: int, *, annotated: bool = True) -> Opened:
        """A sample as it was kept."""
        values = tuple(kept[number] for kept in self.values) if annotated else ()
        return Opened(KeptImage(self.images[number]), values, self.samples.scans[number])

    def in_memory(self) -> KeptSource:
        """This."""
        return self


@dataclass(frozen=True)
class KeptImage:
    """An image in memory; its parts are views."""

    array: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return (self.array.shape[0], self.array.shape[1])

    def tile(self, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        """(h, w, C) of the image; rows and columns beyond its edge are left out."""
        return self.array[top : top + height, left : left + width]
