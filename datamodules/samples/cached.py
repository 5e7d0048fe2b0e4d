"""Samples whose images and masks are kept on disk, as they were stored and at the model's size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.caching.image_cache import ImageCache
from datamodules.caching.shards import Row
from datamodules.opened_image import OpenedImage
from datamodules.preprocess import Preprocess
from datamodules.samples.annotation import Annotation
from datamodules.samples.sources import KeptSource, Opened, Samples, ScanSource, keep_in_memory
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError


@dataclass(frozen=True)
class CachedSource:
    """Samples of which images and masks come from a cache; boxes, which are in memory, do not.

    What the cache has lost since it was looked at is read from its file.

    Attributes:
        source: that reads files.
        cache: where images are kept.
        places: (M,) place in the cache of each image of the table, -1 for those that are not kept.
        path_of: row number of an image -> its path as its reader names it, which the content does not tell.
    """

    source: ScanSource
    cache: ImageCache
    places: NDArray[np.int64]
    path_of: Callable[[int], str]

    @property
    def samples(self) -> Samples:
        """Images, and their labels."""
        return self.source.samples

    @property
    def annotations(self) -> tuple[Annotation[Any], ...]:
        """Annotations that samples have beside images."""
        return self.source.annotations

    @property
    def preprocess(self) -> Preprocess:
        """Stored values -> (H, W, C) float32 in [0, 1]."""
        return self.source.preprocess

    def open(self, number: int, *, annotated: bool = True) -> Opened:
        """A sample from the cache."""
        image = int(self.samples.images[number])
        place = int(self.places[image])
        row = self.cache.row(place) if place >= 0 else None
        if row is None:
            return self.source.open(number, annotated=annotated)
        facts, arrays = row.facts, iter(row.arrays)
        pixels, limits = next(arrays), next(arrays)
        stored, spec = facts["stored"], self.preprocess
        read = cast("ScanInfo", facts["info"])
        if facts["named"]:
            read["path"] = self.path_of(image)
        info = cast("ScanInfo", {**read, **self.samples.scans[number]})
        if spec.fills:
            info["content_size"] = spec.content_size(stored)
        values: list[Any] = []
        if annotated:
            counts = iter(facts["values"])
            for annotation in self.annotations:
                if annotation.from_files:
                    # A copy: what is mapped cannot be written to, and tensors warn of that.
                    count = next(counts)
                    several = tuple(np.array(next(arrays)) for _ in range(count or 1))
                    values.append(several if count else several[0])
                else:
                    scan = Scan(pixels, read)
                    values.append(annotation.scale(annotation.read(image, scan), stored, spec))
        return Opened(OpenedImage(spec, pixels, limits, read.get("path", "image")), tuple(values), info)

    def in_memory(self) -> KeptSource:
        """Every sample, as it comes from the cache."""
        return keep_in_memory(self)


def row_of(source: ScanSource, image: int, path: str, key: bytes) -> Row:
    """What is kept of an image.

    Args:
        source: that reads it.
        image: its row number in the table.
        path: of its file, as its reader is expected to name it.
        key: by which it will be found.

    Raises:
        SuiteError: it cannot be read, or an annotation has a form that is not kept.
    """
    scan = source.read(image)
    stored = (scan.array.shape[0], scan.array.shape[1])
    opened = source.preprocess.opened(scan)
    arrays: list[NDArray[Any]] = [opened.stored, opened.limits]
    counts: list[int] = []
    for annotation in kept_annotations(source.annotations):
        value = annotation.scale(annotation.read(image, scan), stored, source.preprocess)
        several = value if isinstance(value, tuple) else (value,)
        if not several or not all(isinstance(one, np.ndarray) and one.dtype.kind in "buif" for one in several):
            raise SuiteError(
                f"--data.cache disk: {type(annotation).__name__} gives neither arrays nor tuples of arrays: give "
                "--data.cache none, or set from_files to False in it"
            )
        counts.append(len(several) if isinstance(value, tuple) else 0)
        arrays += several
    info = dict(scan.info)
    named = info.get("path") == path
    if named:
        info["path"] = ""
    facts = {"stored": stored, "info": info, "named": named, "values": counts}
    return Row(key, arrays, facts)


def kept_annotations(annotations: Sequence[Annotation[Any]]) -> list[Annotation[Any]]:
    """Annotations that are kept beside images."""
    return [annotation for annotation in annotations if annotation.from_files]


def differing(one: Opened, other: Opened) -> str | None:
    """What differs between two of the same sample: ``image``, ``annotations`` or the name of a fact; None: nothing."""
    pairs = ((one.image.stored, other.image.stored), (one.image.limits, other.image.limits))
    if not all(_same(*pair) for pair in pairs):
        return "image"
    if not _same(one.values, other.values):
        return "annotations"
    names = sorted({*one.info, *other.info})
    return next((name for name in names if not _same(one.info.get(name), other.info.get(name))), None)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return type(one) is type(other) and (one == other or one != one)  # NaN
