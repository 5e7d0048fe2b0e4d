"""Annotations of an image as parts of its sample: the steps that every kind of annotation goes through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from torch import Tensor

from datamodules.types import Sample, Scan, ScanInfo

if TYPE_CHECKING:
    from datamodules.preprocess import Preprocess

Value = TypeVar("Value")


@dataclass(frozen=True)
class Crop:
    """A part of the model's image.

    Attributes:
        top: its first row.
        left: its first column.
        size: (H, W) of the part in pixels; where the image ends within it, the rest is filled up.
        content: (h, w) of the part that show the scan.
    """

    top: int
    left: int
    size: tuple[int, int]
    content: tuple[int, int]


class Annotation(ABC, Generic[Value]):
    """One kind of annotation: masks, boxes, key points.

    Its value for one image goes the way of the image, in this order: :meth:`read`, :meth:`scale`, kept in memory where
    the data are (:meth:`memory`), :meth:`crop` where patches are shown, :meth:`join` in a mosaic, handed to the
    augmentation by :meth:`arrays` and taken from there by :meth:`tensors`, and :meth:`collate`. A new kind is a
    subclass in a file of its own, which a data class names in ``annotations()``; nothing else needs to know it.

    Attributes:
        names: keys of the sample, and of the batch, that it fills.
        by_batch: whether the augmentation of whole batches on a GPU moves it too; else Albumentations is taken.
        from_files: whether :meth:`read` reads files, or looks at the scan; a cache on disk keeps what it gives then,
            arrays or a tuple of arrays. False for what is known without either.
    """

    names: ClassVar[tuple[str, ...]]
    by_batch: ClassVar[bool] = False
    from_files: ClassVar[bool] = True

    @abstractmethod
    def read(self, image: int, scan: Scan) -> Value:
        """The annotation of an image, in pixels as stored.

        Args:
            image: row number of the image in the table.
            scan: the image as it was read.

        Raises:
            scansuite.errors.SuiteError: it cannot be read, or does not fit the image.
        """

    @abstractmethod
    def scale(self, value: Value, stored: tuple[int, int], preprocess: Preprocess) -> Value:
        """The annotation on the model's image.

        Args:
            value: in pixels as stored.
            stored: (H, W) of the image as stored.
            preprocess: that makes the model's image of it.
        """

    @abstractmethod
    def crop(self, value: Value, crop: Crop) -> Value:
        """Crop to a part of the image, counted from the part's corner, with memory of its own."""

    @abstractmethod
    def join(self, values: Sequence[Value], corners: Sequence[tuple[int, int]], size: tuple[int, int]) -> Value:
        """The annotations of parts that were put together to one image.

        Args:
            values: of each part, as :meth:`crop` gives them.
            corners: (row, column) of each part's upper left corner in the whole.
            size: (H, W) of the whole in pixels.
        """

    @abstractmethod
    def arrays(self, value: Value) -> dict[str, Any]:
        """Arguments for the augmentation, by the names of its arguments (``mask``; ``boxes`` and ``labels``)."""

    @abstractmethod
    def tensors(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """Its part of the sample (:attr:`names`).

        Args:
            arrays: of :meth:`arrays`, augmented in training; with those of the image and of other annotations.
        """

    def stored_tensors(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """:meth:`tensors` in the types that they travel in, for ``finish`` to bring to those of a batch."""
        return self.tensors(arrays)

    def foreground(
        self, value: Value, patch: tuple[int, int], free: tuple[int, int], rng: np.random.Generator
    ) -> tuple[int, int] | None:
        """Draw a place for a patch that shows some of it, or None: this kind draws no patches to it.

        Args:
            value: on the model's image.
            patch: (h, w) in pixels.
            free: the last row and column at which a patch may begin.
            rng: of the draw.
        """
        return None

    def scan_facts(self, content: tuple[int, int]) -> ScanInfo:
        """Facts that the sample's ``scan`` should have for its sake; (h, w) of what is shown of the scan is known."""
        return ScanInfo()

    def memory(self, first: Value, count: int, *, one_size: bool) -> MutableSequence[Value]:
        """A place in memory for the values of all images.

        Args:
            first: the value of the first one.
            count: how many there are.
            one_size: the model's images have one size.
        """
        return [first] * count

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Its part of a batch: lists, since images differ in how much they are annotated with."""
        return {name: [sample[name] for sample in samples] for name in self.names}  # type: ignore[literal-required]
