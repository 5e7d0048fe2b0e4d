"""Files, folders or a table as batches for a model: unreadable files do not stop the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.cases.table import CaseTable
from datamodules.input_cases import InputCases
from datamodules.loading.ahead import loader_on
from datamodules.loading.case_source import CaseSource
from datamodules.loading.case_stream import CaseStream, case_loader
from datamodules.loading.loader_process import one_thread
from datamodules.loading.sampling import EvaluationSampler
from datamodules.preprocess import Preprocess
from datamodules.samples.dataset import ScanDataset
from datamodules.samples.moving import PackedBatch, pack
from datamodules.samples.sources import Samples, ScanSource
from datamodules.types import Batch, Draw, Sample, ScanInfo
from scansuite.errors import SuiteError


class InputFiles(InputCases):
    """Input files of ``predict``; the arguments are those of :class:`~datamodules.input_cases.InputCases`.

    Attributes:
        device: a GPU that batches are wanted on, finished there; None: loader processes finish them.
    """

    device: torch.device | None = None

    def pieces(
        self,
        source: CaseSource,
        preprocess: Preprocess,
        tile: tuple[int, int] | None,
        overlap: float,
        rank: int,
        world_size: int,
    ) -> DataLoader[Any]:
        """Pieces of the cases of a source (see :mod:`~datamodules.loading.case_stream`); the unreadable are named."""
        stream = CaseStream(source, preprocess, self.batch_size, tile, overlap, rank, world_size, tolerant=True)
        return case_loader(stream, num_workers=self.num_workers, device=self.device)

    def loader(self, table: CaseTable, preprocess: Preprocess, rank: int, world_size: int) -> DataLoader[Any]:
        """Batches of the cases; ``batch["unreadable"]`` lists (path, reason) of the files left out of it."""
        cases = table.cases
        scans = [ScanInfo(case_id=case, path=path) for case, path in zip(cases["case_id"], cases["path"], strict=True)]
        samples = Samples(table.images.index.to_numpy(), scans)
        scanned = ScanDataset(ScanSource(self.reader(table), samples, preprocess))
        dataset = _Tolerant(scanned if self.device is None else scanned.as_stored())
        return loader_on(
            self.device,
            dataset,
            scanned.finish,
            batch_size=self.batch_size,
            sampler=EvaluationSampler(len(dataset), rank, world_size),
            num_workers=self.num_workers,
            collate_fn=dataset.collate if self.device is None else dataset.packed,
            worker_init_fn=one_thread,
        )


class _Tolerant(Dataset[Any]):
    """Hands on the reason where a case cannot be read."""

    def __init__(self, dataset: ScanDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> Sample | tuple[str, str]:
        try:
            return self.dataset[draw]
        except SuiteError as error:
            return self.dataset.source.samples.scans[draw.case]["path"], str(error)

    def collate(self, items: Sequence[Sample | tuple[str, str]]) -> Batch:
        samples = [item for item in items if not isinstance(item, tuple)]
        batch = self.dataset.collate(samples) if samples else Batch(image=torch.empty(0), scan=[])
        batch["unreadable"] = [item for item in items if isinstance(item, tuple)]
        return batch

    def packed(self, items: Sequence[Sample | tuple[str, str]]) -> PackedBatch:
        return pack(self.collate(items))
