"""Loaders of a data module's parts: samplers, processes, and whether what is kept fits into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Sampler

from datamodules.loading.loader_process import begin_loader_process
from datamodules.loading.sampling import EvaluationSampler, TrainSampler
from datamodules.settings import free_memory
from datamodules.types import Draw, Sample
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule
    from datamodules.samples.dataset import SampleDataset


class LateLoader(DataLoader[Sample]):
    """A loader that draws nothing before its first batch is asked for.

    Lightning makes the iterator of an epoch before it says which epoch that is: the first one of a resumed run, whose
    number it does not know itself by then, and each one with ``reload_dataloaders_every_n_epochs``. Processes that read
    ahead from that moment on would draw epoch 0.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches; a generator runs nothing before the first of them."""
        yield from super().__iter__()


def loader_of(data: ScanDataModule, split: str, dataset: SampleDataset) -> DataLoader[Sample]:
    """Shuffled batches of the training part, batches in table order of the others; this rank's share.

    Args:
        data: says seed, batch size and processes.
        split: which part.
        dataset: its cases.
    """
    rank, world = (data.trainer.global_rank, data.trainer.world_size) if data.trainer is not None else (0, 1)
    sampler: Sampler[Draw]
    if split == "train":
        sampler = TrainSampler(len(dataset), data.seed, rank, world, data.sampler_weights(data.rows("train")))
    else:
        sampler = EvaluationSampler(len(dataset), rank, world)
    workers = data.loader_workers
    kind: type[DataLoader[Sample]] = LateLoader if split == "train" else DataLoader
    return kind(
        dataset,
        batch_size=data.cases_in_batch(split),
        sampler=sampler,
        num_workers=workers,
        collate_fn=dataset.collate,
        # A last batch of one case has no batch statistics to normalise by.
        drop_last=split == "train" and len(sampler) % data.batch_size == 1 and len(sampler) > data.batch_size,
        persistent_workers=workers > 0 and split != "test",
        pin_memory=data.trainer is not None and data.trainer.strategy.root_device.type == "cuda",
        worker_init_fn=begin_loader_process,
    )


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
