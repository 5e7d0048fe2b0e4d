"""Cases one after the other, whole or by tiles: how they reach evaluation and prediction.

What is in memory at a time is one image of each loader process and a few batches, however many cases there are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from datamodules.loading.ahead import loader_on
from datamodules.loading.case_pieces import cut
from datamodules.loading.case_source import CaseSource
from datamodules.loading.loader_process import one_thread
from datamodules.preprocess import Preprocess
from datamodules.samples.collate import collate, sample_of
from datamodules.samples.finish import finish
from datamodules.samples.moving import pack
from datamodules.samples.tiles import plan_tiles
from datamodules.types import Batch, Piece, Sample
from scansuite.errors import SuiteError

T = TypeVar("T")


class CaseStream(IterableDataset[Any]):
    """Batches of pieces: each case once, on one rank and in one loader process.

    A batch holds pieces of one case and of one shape: ``image`` (b, C, h, w) float32 in [0, 1], channels last in
    memory, a ``scan`` and one of ``pieces`` for each, and ``unreadable``. With several loader processes the batches of
    as many cases come mixed; those of one case keep their order. Ranks may have one case more or less; nothing is
    repeated.

    How images are cut is in :func:`~datamodules.loading.case_pieces.cut`.

    Args:
        source: where the cases come from.
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
        waiting: list[tuple[Sample, Piece]] = []
        for image, limits, scan, piece in cut(
            self.source, case, self.preprocess, self.tile, self.overlap, stored=self.stored
        ):
            sample = sample_of(image, limits, scan)
            if waiting and _kind(waiting[0][0]) != _kind(sample):
                yield _batch(waiting)
                waiting = []
            waiting.append((sample, piece))
            if len(waiting) == self.batch_size:
                yield _batch(waiting)
                waiting = []
        if waiting:
            yield _batch(waiting)


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
