"""Cases one after the other, whole or by tiles: how they reach evaluation and prediction.

What is in memory at a time is one image of each loader process and a few batches, however many cases there are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from datamodules.cases.table import CaseTable
from datamodules.lazy import LazySequence
from datamodules.loading.ahead import loader_on
from datamodules.opened_image import OpenedImage
from datamodules.preprocess import Preprocess
from datamodules.samples.collate import collate, sample_of
from datamodules.samples.finish import finish
from datamodules.samples.moving import pack
from datamodules.samples.tiles import fill_up, plan_tiles
from datamodules.settings import one_thread
from datamodules.types import Batch, Piece, Sample, Scan, ScanInfo
from scansuite.errors import SuiteError

T = TypeVar("T")

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule

_Place: TypeAlias = tuple[int, int, tuple[int, int], bool]  # top, left, size and last of a Piece


class CaseSource(Protocol):
    """Cases that can be read one by one. It is pickled for the processes of a loader."""

    def __len__(self) -> int:
        """How many cases there are."""

    def scan_of(self, case: int) -> ScanInfo:
        """Identity of a case (case_id, path, patient_id) without reading anything."""

    def images(self, case: int) -> Sequence[Scan]:
        """The images of a case; each is read when it is asked for.

        Raises:
            SuiteError: the case cannot be read; also when an image is asked for.
        """


class LazyScans(LazySequence[Scan]):
    """Scans that are read when they are asked for, and not kept.

    Args:
        count: how many there are.
        read: number 0..count-1 -> scan.
    """

    def __init__(self, count: int, read: Callable[[int], Scan]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    def _item(self, number: int) -> Scan:
        return self._read(number)


class TableCases(CaseSource):
    """Cases of a data module.

    Args:
        data: reads the images.
        rows: (N,) row numbers of its table's cases; case 0 is the first of them.
    """

    def __init__(self, data: ScanDataModule, rows: NDArray[np.int64]) -> None:
        self.data, self.rows = data, rows
        self._images = [data.table.images_by_case[row] for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def scan_of(self, case: int) -> ScanInfo:
        """Identity of a case from the table: case_id, patient_id and path."""
        row = self.data.table.cases.iloc[self.rows[case]]
        patient = None if pd.isna(row["patient_id"]) else str(row["patient_id"])
        return ScanInfo(case_id=str(row["case_id"]), patient_id=patient, path=str(row["path"]))

    def images(self, case: int) -> Sequence[Scan]:
        """The images of a case as the data module reads them."""
        images = self._images[case]
        return LazyScans(len(images), lambda number: self.data.read(int(images[number])))


class FileCases(CaseSource):
    """Cases of files whose paths stand on their own; how they are read is for a subclass to say.

    Args:
        table: the files of each case.
    """

    def __init__(self, table: CaseTable) -> None:
        cases = table.cases
        self._scans = [
            ScanInfo(case_id=case_id, patient_id=None, path=path)
            for case_id, path in zip(cases["case_id"], cases["path"], strict=True)
        ]
        self.files: list[list[Path]] = [[] for _ in self._scans]
        for case, path in zip(table.images["case"], table.images["path"], strict=True):
            self.files[case].append(Path(path))

    def __len__(self) -> int:
        return len(self._scans)

    def scan_of(self, case: int) -> ScanInfo:
        """The case's name, and its (first) file."""
        return self._scans[case]


class CaseStream(IterableDataset[Any]):
    """Batches of pieces: each case once, on one rank and in one loader process.

    A batch holds pieces of one case and of one shape: ``image`` (b, C, h, w) float32 in [0, 1], channels last in
    memory, a ``scan`` and one of ``pieces`` for each, and ``unreadable``. With several loader processes the batches of
    as many cases come mixed; those of one case keep their order. Ranks may have one case more or less; nothing is
    repeated.

    Tiles are laid over what shows the scan: what was filled up to one size (``scan["content_size"]``) gets none of
    its own. Where a tile is larger than the image, the last pixels below and on the right are repeated.

    Args:
        source: where the cases come from; what :meth:`CaseSource.scan_of` says goes before what the reader says.
        preprocess: stored values -> the model's image.
        batch_size: most pieces in a batch.
        tile: (h, w) in pixels of the model's image; None hands over images whole.
        overlap: see :func:`~datamodules.samples.tiles.plan_tiles`.
        rank: number of this process.
        world_size: number of processes; cases are dealt out to them in turn.
        tolerant: a case with a :class:`~scansuite.errors.SuiteError` becomes a batch without images, whose
            ``unreadable`` has its path and the reason; no piece of the case follows. Else the error is raised.
        stored: batches are packed, their images as stored, for :meth:`finish`.
    """

    def __init__(
        self,
        source: CaseSource,
        preprocess: Preprocess,
        batch_size: int,
        tile: tuple[int, int] | None = None,
        overlap: float = 0.5,
        rank: int = 0,
        world_size: int = 1,
        tolerant: bool = False,
        stored: bool = False,
    ) -> None:
        self.stored = stored
        self.source, self.preprocess, self.batch_size = source, preprocess, batch_size
        self.tile, self.overlap = tile, overlap
        if batch_size < 1:
            raise SuiteError(f"--data.batch_size {batch_size}: must be at least 1")
        self.rank, self.world_size, self.tolerant = rank, world_size, tolerant
        if tile is not None:
            plan_tiles(tile, tile, overlap)  # refuses what is not allowed at start

    def as_stored(self) -> CaseStream:
        """The same with batches as stored."""
        stream = copy.copy(self)
        stream.stored = True
        return stream

    def finish(self, batch: Batch) -> Batch:
        """A batch as stored as the model sees it, on the device where it is."""
        return finish(batch, self.preprocess)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._all():
            yield pack(batch) if self.stored else batch

    def _all(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        first, step = self.rank + number * self.world_size, self.world_size * workers
        for case in range(first, len(self.source), step):
            try:
                yield from self._batches(case)
            except SuiteError as error:
                if not self.tolerant:
                    raise
                reason = (self.source.scan_of(case)["path"], str(error))
                yield Batch(image=torch.empty(0), scan=[], pieces=[], unreadable=[reason])

    def _batches(self, case: int) -> Iterator[Batch]:
        images, identity = self.source.images(case), self.source.scan_of(case)
        waiting: list[tuple[Sample, Piece]] = []
        for number in range(len(images)):
            for sample, place in self._tiles(images[number], identity):
                if waiting and _kind(waiting[0][0]) != _kind(sample):
                    yield _batch(waiting)
                    waiting = []
                waiting.append((sample, Piece(case, number, len(images), *place)))
                if len(waiting) == self.batch_size:
                    yield _batch(waiting)
                    waiting = []
        if waiting:
            yield _batch(waiting)

    def _tiles(self, scan: Scan, identity: ScanInfo) -> Iterator[tuple[Sample, _Place]]:
        """The tiles of an image; nothing of it is kept after the last one."""
        image = self.preprocess.opened(scan)
        info = cast("ScanInfo", {**scan.info, **identity})
        if self.preprocess.fills:
            info["content_size"] = image.content_size
        size = info.get("content_size", image.size)
        tile = self.tile if self.tile is not None else image.size
        places = plan_tiles(size, tile, self.overlap)
        for number, (top, left) in enumerate(places):
            yield self._sample(image, top, left, tile, info), (top, left, size, number == len(places) - 1)

    def _sample(self, image: OpenedImage, top: int, left: int, tile: tuple[int, int], info: ScanInfo) -> Sample:
        part, limits = image.part(top, left, *tile, stored=self.stored)
        return sample_of(fill_up(part, tile), limits, info)


def _kind(sample: Sample) -> tuple[object, ...]:
    """What samples of a batch have in common."""
    return sample["image"].shape, sample["image"].dtype, "limits" in sample


def _batch(waiting: list[tuple[Sample, Piece]]) -> Batch:
    batch = collate([sample for sample, _ in waiting])
    batch["pieces"] = [piece for _, piece in waiting]
    batch["unreadable"] = []
    return batch


def case_loader(stream: CaseStream, *, num_workers: int = 0, device: torch.device | None = None) -> DataLoader[Any]:
    """A loader of a stream's batches.

    Args:
        stream: that makes them.
        num_workers: loader processes; 0 reads in this one.
        device: a GPU that they are wanted on, finished there; left out: the processes finish them.
    """
    settings: dict[str, Any] = {
        "batch_size": None,
        "collate_fn": as_it_is,
        "num_workers": num_workers,
        "worker_init_fn": one_thread,
    }
    return loader_on(device, stream if device is None else stream.as_stored(), stream.finish, **settings)


def as_it_is(batch: T) -> T:
    """DataLoader's own would turn tuples to lists and affines to tensors."""
    return batch
