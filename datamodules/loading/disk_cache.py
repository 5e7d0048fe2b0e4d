"""A cache on disk: filled by processes of their own, and compared with the files that it is of."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from datamodules.caching.image_cache import ImageCache, in_words, no_room
from datamodules.caching.reading_version import behaviour, of_classes
from datamodules.caching.shards import KEY_BYTES, SCHEMA, batch_of, key_numbers
from datamodules.evenly import evenly
from datamodules.loading.loader_process import one_thread
from datamodules.readers.hashing import content_hashes
from datamodules.samples.cached import CachedSource, differing, kept_annotations, row_of
from datamodules.samples.sources import ScanSource, Source
from datamodules.settings import default_workers
from scansuite.errors import SuiteError
from scansuite.progress import Tell, progress

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule

log = logging.getLogger(__name__)

_COMPARED = 8  # images that are compared with their files
_BATCH_BYTES = 2**22  # of the rows that travel together to the process that writes
_MOST_ROWS = 256


def on_disk(data: ScanDataModule, split: str, source: ScanSource, each: int) -> Source:
    """The samples of a part from the cache on disk, which is filled first where images are missing in it.

    Ranks and runs that come here together fill it once: the first does, the others wait for its lock.

    Args:
        data: whose part it is.
        split: which part.
        source: that reads files.
        each: bytes that an image takes.

    Raises:
        SuiteError: an image cannot be read, or there is no room for all.
    """
    settings = cache_settings(data, source)
    cache = ImageCache.in_use(data.cache_dir / "images", settings)
    images = np.unique(source.samples.images)
    names = image_keys(data, images)

    def fill(missing: NDArray[np.int64]) -> None:
        _fill(data, split, source, cache, images[missing], [names[one] for one in missing], each)
        cache.note(data.origin, split, len(images), settings)

    places, fresh = cache.filled(key_numbers(names), fill)
    everywhere = np.full(int(images[-1]) + 1, -1, np.int64)
    everywhere[images] = places
    cached = CachedSource(source, cache, everywhere, data.path_of)
    if not _says_the_same(data, source, cached, split, fresh, cache.size(places)):
        return source
    if data.scratch is not None:
        cache.use(places, data.scratch)
    return cached


def cache_settings(data: ScanDataModule, source: ScanSource) -> dict[str, object]:
    """All that the rows of a cache depend on beside the files that they are of."""
    annotations = [type(annotation) for annotation in kept_annotations(source.annotations)]
    spec = source.preprocess.to_dict()
    del spec["gamma"]  # comes after what is kept
    return {
        "preprocess": spec,
        "annotations": [f"{kind.__module__}.{kind.__qualname__}" for kind in annotations],
        "meaning": data.annotation_meaning() if annotations else "",
        "reading": behaviour("samples/cached"),
        "data": f"{type(data).__module__}.{type(data).__qualname__} {of_classes(type(data), *annotations)}",
    }


def image_keys(data: ScanDataModule, images: NDArray[np.int64]) -> list[bytes]:
    """Names of images in a cache: the content of all files that each is read from, and how."""
    units = data.units(data.table)
    chosen = [units[image] for image in images]
    files = [Path(file) for unit in chosen for file in unit.files]
    contents = iter(content_hashes(files, data.cache_dir / "hashes.sqlite", workers=16))
    names = []
    for unit in chosen:
        text = json.dumps([[next(contents) for _ in unit.files], unit.settings])
        names.append(hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest())
    return names


def _fill(
    data: ScanDataModule,
    split: str,
    source: ScanSource,
    cache: ImageCache,
    images: NDArray[np.int64],
    names: list[bytes],
    each: int,
) -> None:
    """Read images in processes of their own, as many as a loader has, and write them as they come.

    Raises:
        CacheError: there is no room for them.
        SuiteError: one cannot be read.
    """
    needed = len(images) * each
    what = f"{len(images)} images of {split}"
    room = cache.room()
    if room is not None and needed > room:
        raise no_room(cache.folder, what, needed)
    # Other ranks of this machine wait meanwhile, so their cores are free.
    workers = data.num_workers if data.num_workers is not None else default_workers()
    rows = _Rows(source, data, images, names, max(1, min(_MOST_ROWS, _BATCH_BYTES // each)))
    loader: DataLoader[bytes] = DataLoader(
        rows, batch_size=None, num_workers=workers, collate_fn=bytes, worker_init_fn=one_thread
    )
    began = time.monotonic()
    with progress("writing the disk cache", "images", len(images)) as tell:
        cache.write(_told(iter(loader), tell), what, needed)
    taken = time.monotonic() - began
    log.info(
        "--data.cache disk: %s, %s, written to %s in %.1f seconds (%.0f images/s with %d processes)",
        what, in_words(needed), cache.folder, taken, len(images) / max(taken, 1e-9), workers,
    )  # fmt: skip


class _Rows(Dataset[bytes]):
    """Rows of a cache, some at a time and as bytes: shared memory, which tensors travel by, is small in containers."""

    def __init__(
        self, source: ScanSource, data: ScanDataModule, images: NDArray[np.int64], names: list[bytes], together: int
    ) -> None:
        self.source, self.data, self.images, self.names, self.together = source, data, images, names, together

    def __len__(self) -> int:
        return -(-len(self.images) // self.together)

    def __getitem__(self, number: int) -> bytes:
        first = number * self.together
        chosen = range(first, min(first + self.together, len(self.images)))
        rows = []
        for one in chosen:
            image = int(self.images[one])
            rows.append(row_of(self.source, image, self.data.path_of(image), self.names[one]))
        try:
            return bytes(batch_of(rows).serialize())
        except TypeError as error:
            where = self.data.path_of(int(self.images[first]))
            raise SuiteError(
                f"--data.cache disk: what is known of {where} (or a neighbour) cannot be kept ({error}): give "
                "--data.cache none"
            ) from None


def _told(parts: Iterator[bytes], tell: Tell) -> Iterator[pa.RecordBatch]:
    """Batches of rows, while it is said how far they are."""
    done = 0
    for part in parts:
        batch = pa.ipc.read_record_batch(pa.py_buffer(part), SCHEMA)
        yield batch
        done += len(batch)
        tell(done)


def _says_the_same(
    data: ScanDataModule, source: ScanSource, cached: CachedSource, split: str, fresh: int, size: int
) -> bool:
    """Compare some images of a cache with their files, and say what was found there.

    A data class may read by something that its ``units`` do not name; what it gave then must not be trained on.
    """
    count = len(source.samples)
    seconds = np.zeros(2)
    both: tuple[Source, Source] = (source, cached)
    chosen = evenly(count, _COMPARED)
    for number in chosen.tolist():
        opened = []
        for place, one in enumerate(both):
            one.open(number)
            began = time.perf_counter()
            opened.append(one.open(number))
            seconds[place] += time.perf_counter() - began
        wrong = differing(*opened)
        if wrong is not None:
            log.warning(
                "--data.cache disk: %s of %s as kept in %s differs from its file, so that files are read: %s depends "
                "on something that its units() do not name",
                wrong, data.path_of(int(source.samples.images[number])), cached.cache.folder, type(data).__name__,
            )  # fmt: skip
            return False
    read, mapped = seconds / len(chosen) * 1000
    log.info(
        "--data.cache disk: the %d images of %s are %s in %s (files of %s): %.2f ms an image instead of %.2f ms",
        count, split, "now" if fresh else "ready", cached.cache.folder, in_words(size), mapped, read,
    )  # fmt: skip
    return True
