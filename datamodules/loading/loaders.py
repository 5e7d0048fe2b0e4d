"""Loaders of a data module's parts: samplers, processes, and whether what is kept fits into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from datamodules.loading.ahead import AheadEpochLoader, loader_on
from datamodules.loading.epochs import EpochLoader
from datamodules.loading.loader_process import begin_loader_process
from datamodules.loading.patch_counts import patch_counts
from datamodules.loading.sampling import EvaluationSampler, TrainSampler
from datamodules.samples.features import FeatureDataset
from datamodules.settings import free_memory
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule
    from datamodules.samples.dataset import SampleDataset


def loader_of(data: ScanDataModule, split: str, dataset: SampleDataset) -> DataLoader[Any]:
    """Shuffled batches of the training part, batches in table order of the others; this rank's share.

    They are on the device of the trainer where that is a GPU, or where they are augmented as a whole.

    Args:
        data: says seed, batch size and processes.
        split: which part.
        dataset: its cases.
    """
    rank, world = (data.trainer.global_rank, data.trainer.world_size) if data.trainer is not None else (0, 1)
    batch_size, workers = data.cases_in_batch(split), data.loader_workers
    if isinstance(dataset, FeatureDataset):  # they are there already: no process has to make them
        workers = 0
    device = finishing_device(data, dataset)
    given = dataset if device is None else dataset.as_stored()
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "num_workers": workers,
        "collate_fn": given.collate if device is None else given.packed,
        "persistent_workers": workers > 0 and split != "test",
        "worker_init_fn": begin_loader_process,
    }
    if split != "train":
        return loader_on(device, given, given.finish, sampler=EvaluationSampler(len(dataset), rank, world), **settings)
    weights, times = data.sampler_weights(data.rows("train")), patch_counts(data, batch_size * world)
    sampler = TrainSampler(len(dataset), data.seed, rank, world, weights, times)
    # A last batch of one case has no batch statistics to normalise by.
    drop_last = len(sampler) % data.batch_size == 1 and len(sampler) > data.batch_size
    settings |= {"sampler": sampler, "drop_last": drop_last}
    if device is None:
        return EpochLoader(given, **settings)
    pin = device.type == "cuda"
    return AheadEpochLoader(given, device=device, finish=given.finish, pin_memory=pin, **settings)


def finishing_device(data: ScanDataModule, dataset: SampleDataset) -> torch.device | None:
    """The device on which a loader finishes its batches; None where its processes do."""
    device = torch.device("cpu") if data.trainer is None else data.trainer.strategy.root_device
    return device if device.type == "cuda" or dataset.augments_on_device else None


def in_memory(data: ScanDataModule, dataset: SampleDataset) -> SampleDataset:
    """Keep a data set in memory as it was stored (``--data.cache memory``), unless it would fill the machine.

    Args:
        data: says how large an image is.
        dataset: whose images are to be kept.

    Raises:
        SuiteError: they need more than four fifths of what is free.
    """
    stored = data.image_facts.size or (512, 512)
    height, width = data.preprocess.size or data.preprocess.content_size(stored)
    needed = dataset.num_images * height * width * dataset.pixel_bytes
    free = free_memory()
    if free is not None and needed > 0.8 * free:
        raise SuiteError(
            f"--data.cache memory: {needed / 2**30:.1f} GiB are needed and {free / 2**30:.1f} GiB are free: use "
            "--data.cache none or disk"
        )
    return dataset.in_memory()
