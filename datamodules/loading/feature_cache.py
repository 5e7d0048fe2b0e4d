"""Features of a part (``--data.cache features``): each image goes through the frozen network once, and never again."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.caching.image_cache import ImageCache, in_words
from datamodules.caching.reading_version import behaviour, of_classes
from datamodules.caching.shards import KEY_BYTES, Row, batch_of, key_numbers
from datamodules.loading.disk_cache import image_keys
from datamodules.loading.loader_process import begin_loader_process
from datamodules.samples.dataset import SampleDataset, ScanDataset
from datamodules.samples.features import FeatureDataset
from datamodules.types import Batch, Draw, ScanInfo
from scansuite.errors import SuiteError
from scansuite.progress import progress

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule

log = logging.getLogger(__name__)

FOLDER = "features"
_TOGETHER = 32  # images that go through the network at once
_OF_THE_TABLE = ("path", "case_id", "patient_id")  # facts of a scan that its content does not tell


class Extractor(Protocol):
    """A frozen network."""

    @property
    def digest(self) -> str:
        """Of its weights, and of all else that its features depend on beside the image."""

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, F) float32 on the CPU."""


def featured(data: ScanDataModule, split: str, dataset: SampleDataset, extractor: Extractor) -> FeatureDataset:
    """The features of a part, from the cache folder as far as they are there; the others are computed and kept.

    Args:
        data: whose part it is.
        split: which part; the training part has ``data.feature_copies`` copies of each image.
        dataset: of the part's images, in training augmented.
        extractor: the network.

    Raises:
        SuiteError: an image cannot be read, or the cache folder cannot be written.
    """
    plain = data.dataset(data.rows(split))
    if not isinstance(plain, ScanDataset):
        raise SuiteError("--data.cache features: cases of many images are read anew in each epoch: leave it out")
    copies = data.feature_copies if split == "train" else 1
    wanted = [(case, copy) for case in range(len(plain)) for copy in range(copies)]
    work = _Work(data, split, plain, dataset, extractor)
    began, fresh = time.monotonic(), 0
    if data.not_on_disk() is not None:
        rows, place = {one: (features, info) for one, features, info in work.compute(wanted)}, "in memory"
        fresh = len(wanted)
    else:
        rows, fresh, place = _kept(data, split, plain, work, wanted)
    samples = plain.source.samples
    scans = [cast("ScanInfo", {**rows[case, 0][1], **samples.scans[case]}) for case in range(len(plain))]
    table = np.stack([rows[one][0] for one in wanted])
    features = torch.from_numpy(table.reshape(len(plain), copies, table.shape[1]))
    seconds = time.monotonic() - began
    log.info(
        "--data.cache features: %d images of %s%s: %d features each, %s",
        len(plain), split, f" in {copies} copies" if copies > 1 else "", features.shape[2],
        f"{fresh} computed in {seconds:.1f} seconds, kept {place}" if fresh else f"ready {place}",
    )  # fmt: skip
    return FeatureDataset(features, scans, samples.labels)


class _Work:
    """Features still to be computed, of a part."""

    def __init__(
        self, data: ScanDataModule, split: str, plain: ScanDataset, augmented: SampleDataset, extractor: Extractor
    ) -> None:
        self.data, self.split, self.plain, self.augmented, self.extractor = data, split, plain, augmented, extractor

    def compute(
        self, wanted: Sequence[tuple[int, int]], seeds: dict[tuple[int, int], int] | None = None
    ) -> Iterator[tuple[tuple[int, int], NDArray[np.float32], dict[str, Any]]]:
        """Case and copy, (F,) features, and what the reader says of the scan.

        Args:
            wanted: cases with numbers of copies; copy 0 is the image as it is.
            seeds: a number for each from which its augmentation is drawn; left out: that of the case.
        """
        done = 0
        with progress(f"computing features of {self.split}", "images", len(wanted)) as tell:
            for augmented in (False, True):
                chosen = [one for one in wanted if (one[1] > 0) == augmented]
                draws = [
                    Draw(case, (self.data.seed, copy, case if seeds is None else seeds[case, copy]))
                    for case, copy in chosen
                ]
                names = iter(chosen)
                for batch in self._batches(self.augmented if augmented else self.plain, draws):
                    found = self.extractor(batch["image"]).numpy()
                    for features, scan in zip(found, batch["scan"], strict=True):
                        info = {key: value for key, value in scan.items() if key not in _OF_THE_TABLE}
                        yield next(names), np.asarray(features, np.float32), info
                    done += len(found)
                    tell(done)

    def _batches(self, dataset: SampleDataset, draws: list[Draw]) -> Iterator[Batch]:
        if not draws:
            return
        loader: DataLoader[Any] = DataLoader(
            dataset,
            _TOGETHER,
            sampler=cast("Any", draws),
            num_workers=self.data.loader_workers,
            collate_fn=dataset.collate,
            worker_init_fn=begin_loader_process,
        )
        yield from cast("Iterator[Batch]", loader)


def _kept(
    data: ScanDataModule, split: str, plain: ScanDataset, work: _Work, wanted: list[tuple[int, int]]
) -> tuple[dict[tuple[int, int], tuple[NDArray[np.float32], dict[str, Any]]], int, str]:
    """Features by case and copy, how many of them are new, and the folder where they are."""
    settings = _settings(data, plain, work.extractor)
    cache = ImageCache.in_use(data.cache_dir / FOLDER, settings)
    contents = image_keys(data, plain.source.samples.images)
    augmentation = _augmentation(data)
    names = [_name(contents[case], copy, augmentation) for case, copy in wanted]

    def fill(missing: NDArray[np.int64]) -> None:
        seeds = {one: int.from_bytes(name[:4], "big") for one, name in zip(wanted, names, strict=True)}
        named = {wanted[number]: names[number] for number in missing}
        what = f"features of {len(missing)} images of {split}"
        cache.write(_rows(work, list(named), named, seeds), what, len(missing) * 4096)
        cache.note(data.origin, split, len(plain), settings, "features of images")

    places, fresh = cache.filled(key_numbers(names), fill)
    rows: dict[tuple[int, int], tuple[NDArray[np.float32], dict[str, Any]]] = {}
    lost = []
    for one, at in zip(wanted, places.tolist(), strict=True):
        row = cache.row(at) if at >= 0 else None
        if row is None:
            lost.append(one)
        else:
            rows[one] = np.array(row.arrays[0]), row.facts["info"]
    for one, features, info in work.compute(lost, dict.fromkeys(lost, 0)) if lost else ():
        rows[one] = features, info
    return rows, fresh, f"in {cache.folder} ({in_words(cache.size(places))})"


def _rows(
    work: _Work, wanted: list[tuple[int, int]], names: dict[tuple[int, int], bytes], seeds: dict[tuple[int, int], int]
) -> Iterator[pa.RecordBatch]:
    """What is to be kept, some at a time."""
    rows: list[Row] = []
    for one, features, info in work.compute(wanted, seeds):
        rows.append(Row(names[one], [features], {"info": info}))
        if len(rows) == _TOGETHER * 8:
            yield batch_of(rows)
            rows = []
    if rows:
        yield batch_of(rows)


def _settings(data: ScanDataModule, plain: ScanDataset, extractor: Extractor) -> dict[str, object]:
    """All that features of images as they are depend on beside the files."""
    return {
        "network": extractor.digest,
        "preprocess": plain.source.preprocess.to_dict(),
        "reading": behaviour("samples/cached"),
        "data": f"{type(data).__module__}.{type(data).__qualname__} {of_classes(type(data))}",
    }


def _augmentation(data: ScanDataModule) -> str:
    """All that augmented copies depend on beside that: what is in effect, whoever asked for it."""
    told = {
        "preset": data.augment,
        "changes": json.dumps(asdict(data.augment_args), sort_keys=True, default=str),
        "listed": of_classes(*data.listed_transforms()),
        "sided": data.has_sides,
        "seed": data.seed,
        "size": data.input_size,
        "on": data.augment_place,
        "code": behaviour("transforms/presets", "transforms/device/augmentation"),
    }
    return json.dumps(told, sort_keys=True, default=str)


def _name(content: bytes, copy: int, augmentation: str) -> bytes:
    """Name of a copy of an image in the cache."""
    further = f"{copy} {augmentation}".encode() if copy else b"0"
    return hashlib.blake2b(content + further, digest_size=KEY_BYTES).digest()
