"""Cases of many images to predict, their images straight from the files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.cases.table import CaseTable, table_of_images
from datamodules.classification.bags import bag_of, collate_bags, spaced
from datamodules.classification.case_rows import slice_name
from datamodules.inputs import InputFiles
from datamodules.loading.ahead import loader_on
from datamodules.loading.case_stream import CaseSource, as_it_is
from datamodules.loading.sampling import EvaluationSampler
from datamodules.preprocess import Preprocess
from datamodules.samples.collate import collate, sample_of
from datamodules.samples.finish import alike, finish
from datamodules.samples.moving import PackedBatch, pack
from datamodules.samples.slices import SliceSpec
from datamodules.settings import one_thread
from datamodules.types import Batch, Draw, Sample, Scan, ScanInfo
from scansuite.errors import SuiteError


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
    paths = table.images["path"]
    files = table_of_images(pd.DataFrame({"path": paths, "case_id": [str(number) for number in range(len(paths))]}))
    source = inputs.source(files, preprocess, slices)
    dataset = _Bags(source, table, preprocess, joined=joined, limit=limit, stored=inputs.device is not None)
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

    def __init__(
        self, source: CaseSource, table: CaseTable, preprocess: Preprocess, *, joined: bool, limit: int, stored: bool
    ) -> None:
        self.source, self.preprocess, self.joined, self.stored = source, preprocess, joined, stored
        self.limit = limit if joined else 0
        self.files = [[int(file) for file in some] for some in table.images_by_case]
        self.paths = [str(path) for path in table.images["path"]]
        self.scans = [
            ScanInfo(case_id=case, path=path, patient_id=None)
            for case, path in zip(table.cases["case_id"], table.cases["path"], strict=True)
        ]

    def __len__(self) -> int:
        return len(self.files)

    def finish(self, batch: Batch) -> Batch:
        return finish(batch, self.preprocess)

    def __getitem__(self, draw: Draw) -> Batch | PackedBatch:
        batch = self._case(draw)
        return pack(batch) if self.stored else batch

    def _case(self, draw: Draw) -> Batch:
        unreadable: list[tuple[str, str]] = []
        images: list[tuple[int, Sequence[Scan], int]] = []
        for file in self.files[draw.case]:
            try:
                scans = self.source.images(file)
            except SuiteError as error:
                unreadable.append((self.paths[file], str(error)))
                continue
            images += [(file, scans, number) for number in range(len(scans))]
        samples: list[Sample] = []
        for number in spaced(len(images), self.limit):
            file, scans, index = images[number]
            try:
                scan = scans[index]
                opened = self.preprocess.opened(scan)
                part = opened.part(0, 0, *opened.size, stored=self.stored)
            except SuiteError as error:
                unreadable.append((self.paths[file], str(error)))
                continue
            samples.append(sample_of(*part, cast("ScanInfo", {**scan.info, "path": self.paths[file]})))
        batch = self._batch(list(alike(samples, self.preprocess)), self.scans[draw.case])
        batch["unreadable"] = list(dict.fromkeys(unreadable))
        return batch

    def _batch(self, samples: list[Sample], identity: ScanInfo) -> Batch:
        if not samples:
            return Batch(image=torch.empty(0), scan=[])
        if self.joined:
            return collate_bags([bag_of(samples, identity)])
        for sample in samples:
            name = slice_name(identity["case_id"], sample["scan"].get("slice") or 0)
            sample["scan"] = cast("ScanInfo", {**sample["scan"], "case_id": name})
        return collate(samples)
