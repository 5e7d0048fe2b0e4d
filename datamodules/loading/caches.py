"""Images of a part kept in memory or on disk (``--data.cache``): which is chosen, and why."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from datamodules.caching.image_cache import ImageCache, in_words
from datamodules.evenly import evenly
from datamodules.loading.disk_cache import on_disk
from datamodules.loading.feature_cache import Extractor, featured
from datamodules.loading.loaders import in_memory
from datamodules.samples.sources import ScanSource, Source
from datamodules.settings import free_memory
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule
    from datamodules.samples.dataset import SampleDataset

log = logging.getLogger(__name__)

Cache: TypeAlias = Literal["none", "memory", "disk", "auto", "features"]

MEMORY_SHARE = 0.5  # of the free memory of a machine, for the caches of all its ranks, where it is chosen for the user
_NOTHING = 0.2e-3  # seconds an image: what reading may take and still cost next to nothing beside a step
_LOOKED_AT = 8  # images by which size and time are estimated
_RESERVE = 2**30  # bytes that a cache that was not asked for leaves free on its disk


class KeptOnDisk:
    """Data whose images may be kept on disk (``--data.cache``), or what a frozen network makes of them.

    Attributes:
        feature_copies: how often each training image goes through the network: as it is, and augmented.
        extractor: the network, where there is one (``--data.cache features`` in training); None: images are read.
    """

    feature_copies: int = 1
    extractor: Extractor | None = None

    def not_on_disk(self) -> str | None:
        """Why they are not: they are no files, or are kept so already; None where they may be."""
        return None

    def annotation_meaning(self) -> str:
        """What annotations depend on beside their files: classes and their order."""
        return ""


class _Cost(NamedTuple):
    """Cost of the images of a part, by some of them.

    Attributes:
        each: bytes of one with its masks.
        total: bytes of all.
        seconds: to read one, once its file is in the system's memory.
    """

    each: int
    total: int
    seconds: float


def kept(data: ScanDataModule, split: str, dataset: SampleDataset) -> SampleDataset:
    """The data set of a part with its images where ``--data.cache`` says.

    Args:
        data: whose part it is.
        split: which part.
        dataset: of files.

    Raises:
        SuiteError: they fit neither into memory nor onto the disk; an image cannot be read; there is no such cache.
    """
    if data.cache not in get_args(Cache):
        raise SuiteError(f"--data.cache {data.cache}: one of {', '.join(get_args(Cache))}")
    if data.cache == "none":
        return dataset
    if data.cache == "memory":
        return in_memory(data, dataset)
    if data.cache == "features":
        return dataset if data.extractor is None else featured(data, split, dataset, data.extractor)
    return dataset.with_source(lambda source: _kept_source(data, split, source))


def _kept_source(data: ScanDataModule, split: str, source: Source) -> Source:
    cost = _cost(source)
    if data.cache == "auto":
        choice = _chosen(data, split, source, cost)
        if choice != "disk":
            return source.in_memory() if choice == "memory" else source
    why = data.not_on_disk()
    if why is not None or not isinstance(source, ScanSource):
        log.warning("--data.cache disk does nothing: %s", why or "the images are kept already")
        return source
    return on_disk(data, split, source, cost.each)


def _chosen(data: ScanDataModule, split: str, source: Source, cost: _Cost) -> str:
    """What ``auto`` stands for; one line says why."""
    images, free = len(source.samples), free_memory()
    ranks = data.trainer.num_devices if data.trainer is not None else 1  # of this machine

    def say(choice: str, why: str, *values: object) -> str:
        log.info(f"--data.cache auto: {choice} for the {images} images of {split}: {why}", *values)
        return choice

    if cost.seconds < _NOTHING:
        return say("none", "one is read in %.2f ms", cost.seconds * 1000)
    needed = f"{in_words(cost.total)}" + (f" in each of {ranks} processes" if ranks > 1 else "")
    if free is None or cost.total * ranks <= MEMORY_SHARE * free:
        there = "" if free is None else f" of {in_words(free)} free"
        return say("memory", "%s%s; one is read in %.1f ms", needed, there, cost.seconds * 1000)
    large = f"{needed} are more than half of the {in_words(free)} of free memory"
    kept_already = data.not_on_disk()
    if kept_already is not None:
        return say("none", "%s, and %s", large, kept_already)
    folder = data.cache_dir
    room = ImageCache(folder).room()
    if room is None or cost.total + _RESERVE <= room:
        there = "" if room is None else f" ({in_words(room)} free)"
        return say("disk", "%s; they go to %s%s", large, folder, there)
    return say("none", "%s, and %s has %s free: --data.cache_dir names another folder", large, folder, in_words(room))


def _cost(source: Source) -> _Cost:
    count = len(source.samples)
    chosen = evenly(count, _LOOKED_AT)
    sizes, times = [], []
    for number in chosen:
        source.open(int(number))  # its file comes into memory
        began = time.perf_counter()
        opened = source.open(int(number))
        times.append(time.perf_counter() - began)
        arrays = [opened.image.stored]
        for annotation, value in zip(source.annotations, opened.values, strict=True):
            if annotation.from_files:
                arrays += [
                    one for one in (value if isinstance(value, tuple) else [value]) if isinstance(one, np.ndarray)
                ]
        sizes.append(sum(array.nbytes for array in arrays))
    mean = float(np.mean(sizes))
    return _Cost(max(1, round(mean)), round(mean * count), float(np.median(times)))
