"""Cases of many images to predict, as batches."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.cases.table import CaseTable
from datamodules.classification.bag_images import BagImages
from datamodules.classification.bags import bag_of, collate_bags
from datamodules.inputs import InputFiles
from datamodules.loading.ahead import loader_on
from datamodules.loading.case_stream import as_it_is
from datamodules.loading.loader_process import one_thread
from datamodules.loading.sampling import EvaluationSampler
from datamodules.preprocess import Preprocess
from datamodules.samples.collate import collate, sample_of
from datamodules.samples.finish import alike, finish
from datamodules.samples.moving import PackedBatch, pack
from datamodules.samples.slices import SliceSpec
from datamodules.types import Batch, Draw, Sample, ScanInfo


def bag_loader(
    inputs: InputFiles,
    table: CaseTable,
    preprocess: Preprocess,
    slices: SliceSpec | None,
    *,
    joined: bool,
    limit: int,
    rank: int,
    world_size: int,
) -> DataLoader[Any]:
    """Batches of one case each; ``batch["unreadable"]`` lists (path, reason) of the files left out of it.

    Args:
        inputs: how files are read.
        table: the files of each case.
        preprocess: of the model.
        slices: how the model's volumes are cut; None for raster images.
        joined: the model evaluates the images of a case together; else each slice is a case of its own.
        limit: most images of a case, evenly spaced; 0 for all.
        rank: number of this process.
        world_size: number of processes.
    """
    images = BagImages(inputs, table, preprocess, slices, joined=joined, limit=limit)
    dataset = _Bags(images, stored=inputs.device is not None)
    return loader_on(
        inputs.device,
        dataset,
        dataset.finish,
        batch_size=None,
        sampler=EvaluationSampler(len(dataset), rank, world_size),
        collate_fn=as_it_is,
        num_workers=inputs.num_workers,
        worker_init_fn=one_thread,
    )


class _Bags(Dataset[Any]):
    """One batch a case, packed with its images as stored where asked for.

    What cannot be read is named and left out; a case of which nothing is readable too.
    """

    def __init__(self, images: BagImages, *, stored: bool) -> None:
        self.images, self.stored = images, stored

    def __len__(self) -> int:
        return len(self.images)

    def finish(self, batch: Batch) -> Batch:
        return finish(batch, self.images.preprocess)

    def __getitem__(self, draw: Draw) -> Batch | PackedBatch:
        batch = self._case(draw)
        return pack(batch) if self.stored else batch

    def _case(self, draw: Draw) -> Batch:
        seen, unreadable = self.images.read(draw.case, stored=self.stored)
        samples = alike([sample_of(*one) for one in seen], self.images.preprocess)
        batch = self._batch(list(samples), self.images.scans[draw.case])
        batch["unreadable"] = unreadable
        return batch

    def _batch(self, samples: list[Sample], identity: ScanInfo) -> Batch:
        if not samples:
            return Batch(image=torch.empty(0), scan=[])
        return collate_bags([bag_of(samples, identity)]) if self.images.joined else collate(samples)
