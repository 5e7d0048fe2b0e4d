"""Sources of samples: scans and annotations as they are read, or kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.opened_image import OpenedImage
from datamodules.preprocess import Preprocess
from datamodules.samples.annotation import Annotation
from datamodules.types import Scan, ScanInfo
from scansuite.progress import progress


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


class Opened(NamedTuple):
    """A sample before anything of it is shown.

    Attributes:
        image: as stored, to be made the model's image.
        values: of the annotations, on the model's image.
        info: what is known of the scan.
    """

    image: OpenedImage
    values: tuple[Any, ...]
    info: ScanInfo

    @property
    def content(self) -> tuple[int, int]:
        """(h, w) of the model's image that show the scan; what follows was filled up."""
        return self.info.get("content_size", self.image.size)


class Shown(NamedTuple):
    """View of a sample before augmentation, as the model is shown it.

    Attributes:
        image: (H, W, C) float32 in [0, 1], or as stored, (H, W) or (H, W, c).
        values: of the annotations, in pixels of the image.
        info: what is known of the scan.
        content: (h, w) of the image that show the scan.
        limits: (2, K) of an image as stored, :attr:`~datamodules.opened_image.OpenedImage.limits`; else None.
    """

    image: NDArray[Any]
    values: tuple[Any, ...]
    info: ScanInfo
    content: tuple[int, int]
    limits: NDArray[np.float32] | None = None


class Source(Protocol):
    """Samples that can be opened one by one. It is pickled for the processes of a loader."""

    @property
    def samples(self) -> Samples:
        """Images, and their labels."""

    @property
    def annotations(self) -> tuple[Annotation[Any], ...]:
        """Annotations that samples have beside images."""

    @property
    def preprocess(self) -> Preprocess:
        """Stored values -> (H, W, C) float32 in [0, 1]."""

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
        return keep_in_memory(self)


def keep_in_memory(source: Source) -> KeptSource:
    """Open every sample of a source once and keep it."""
    count = len(source.samples)
    memory = _Memory(count)
    limits: list[NDArray[np.float32]] = []
    values: list[Any] = []
    scans: list[ScanInfo] = []
    with progress("reading into memory", "images", count) as tell:
        for number in range(count):
            opened = source.open(number)
            memory.put(number, opened.image.stored)
            if number == 0:
                values = [
                    annotation.memory(value, count, one_size=source.preprocess.size is not None)
                    for annotation, value in zip(source.annotations, opened.values, strict=True)
                ]
            limits.append(opened.image.limits)
            for kept, value in zip(values, opened.values, strict=True):
                kept[number] = value
            scans.append(opened.info)
            tell(number + 1)
    samples = Samples(source.samples.images, scans, source.samples.labels)
    return KeptSource(samples, source.preprocess, memory.images, np.array(limits), values, source.annotations)


class _Memory:
    """Images as they come: one array as long as all have one size and type, else a list."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.images: NDArray[Any] | list[NDArray[Any]] = []

    def put(self, number: int, image: NDArray[Any]) -> None:
        """Keep one more; they come in order."""
        if number == 0:
            self.images = np.empty((self.count, *image.shape), image.dtype)
        if isinstance(self.images, np.ndarray):
            if self.images.shape[1:] == image.shape and self.images.dtype == image.dtype:
                self.images[number] = image
                return
            self.images = list(self.images[:number])  # memory that was never written to was never taken
        self.images.append(np.array(image))


@dataclass(frozen=True)
class KeptSource:
    """Samples in memory, their images as they were stored.

    Attributes:
        samples: which images, with all that is known of the scans.
        preprocess: stored values -> (H, W, C) float32 in [0, 1].
        images: :attr:`~datamodules.opened_image.OpenedImage.stored` of each sample; one array where all have one size
            and type.
        limits: (N, 2, K) of each.
        values: of each annotation, one for each sample.
        annotations: what they are of.
    """

    samples: Samples
    preprocess: Preprocess
    images: NDArray[Any] | list[NDArray[Any]]
    limits: NDArray[np.float32]
    values: Sequence[Sequence[Any]]
    annotations: tuple[Annotation[Any], ...]

    def open(self, number: int, *, annotated: bool = True) -> Opened:
        """A sample as it was kept."""
        values = tuple(kept[number] for kept in self.values) if annotated else ()
        info = self.samples.scans[number]
        image = OpenedImage(self.preprocess, self.images[number], self.limits[number], info.get("path", "image"))
        return Opened(image, values, info)

    def in_memory(self) -> KeptSource:
        """This."""
        return self
