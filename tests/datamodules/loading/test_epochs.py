"""Epochs without a gap between them draw what epochs with one draw."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.loading.ahead import AheadEpochLoader
from datamodules.loading.epochs import EpochLoader, Epochs
from datamodules.loading.sampling import TrainSampler
from datamodules.samples.moving import PackedBatch, pack
from datamodules.types import Draw
from scansuite.errors import SuiteError
from tests.datamodules.loading.waiting import wait_until

DEVICE = torch.device("cpu")
WORKERS = pytest.mark.parametrize("workers", [0, 1, 2])


class Counted(Dataset[Draw]):
    """Gives back draws, and counts those that were read in all processes."""

    def __init__(self, broken: int = -1) -> None:
        self.read, self.broken = multiprocessing.get_context("fork").Value("i", 0), broken

    def __getitem__(self, draw: Draw) -> Draw:
        with self.read.get_lock():
            self.read.value += 1
        if draw.seed[2] == self.broken:
            raise SuiteError(f"{draw.case}.png: cannot be read: leave it out")
        return draw


def as_drawn(draws: list[Draw]) -> list[Draw]:
    return draws


def packed(draws: list[Draw]) -> PackedBatch:
    return pack({"draws": draws})


def unpacked(batch: Any) -> Any:
    return batch["draws"]


def loader_of(workers: int, *, ahead: bool = False, dataset: Any = None, batch: int = 4, **sampling: Any) -> Any:
    sampler = TrainSampler(**{"num_cases": 21, "seed": 3, **sampling})
    settings: dict[str, Any] = {
        "sampler": sampler, "batch_size": batch, "num_workers": workers, "persistent_workers": workers > 0,
        "drop_last": len(sampler) % batch == 1,
    }  # fmt: skip
    dataset = dataset or Counted()
    if not ahead:
        return EpochLoader(dataset, collate_fn=as_drawn, **settings)
    return AheadEpochLoader(dataset, device=DEVICE, finish=unpacked, collate_fn=packed, **settings)


def plain_epoch(epoch: int, start: int = 0, batch: int = 4, **sampling: Any) -> list[list[Draw]]:
    sampler = TrainSampler(**{"num_cases": 21, "seed": 3, **sampling})
    sampler.set_epoch(epoch)
    sampler.set_start(start)
    drop_last = len(sampler) % batch == 1
    return list(DataLoader(Counted(), batch, sampler=sampler, drop_last=drop_last, collate_fn=as_drawn))


@WORKERS
@pytest.mark.parametrize("ahead", [False, True], ids=["as read", "ahead"])
@pytest.mark.parametrize(
    "sampling",
    [{}, {"num_cases": 20}, {"num_cases": 3}, {"rank": 1, "world_size": 2}, {"weights": np.arange(1.0, 22.0)}],
    ids=["last dropped", "even", "one batch", "second rank", "weighted"],
)
def test_three_epochs_are_those_of_a_plain_loader(workers: int, ahead: bool, sampling: dict[str, Any]) -> None:
    loader = loader_of(workers, ahead=ahead, **sampling)
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        wanted = plain_epoch(epoch, **sampling)
        assert len(loader) == len(wanted)
        assert list(loader) == wanted


@WORKERS
@pytest.mark.parametrize("ahead", [False, True], ids=["as read", "ahead"])
def test_what_is_not_expected_begins_anew(workers: int, ahead: bool) -> None:
    """Epochs that are cut short or left out, asked for twice, and begun in the middle."""
    loader = loader_of(workers, ahead=ahead)
    for epoch, start, taken in [(0, 0, 2), (1, 0, 9), (2, 8, 9), (3, 0, 9), (3, 0, 1), (7, 0, 9), (0, 4, 1), (1, 0, 9)]:
        loader.sampler.set_epoch(epoch)
        if start:
            loader.sampler.set_start(start)
        wanted = plain_epoch(epoch, start)
        assert [batch for batch, _ in zip(loader, range(taken), strict=False)] == wanted[:taken]
        assert loader.sampler.start == 0


@pytest.mark.parametrize("ahead", [False, True], ids=["as read", "ahead"])
def test_the_next_epoch_is_read_while_nothing_is_asked_for(ahead: bool) -> None:
    dataset = Counted()
    loader = loader_of(2, ahead=ahead, dataset=dataset, num_cases=20)
    assert list(loader) == plain_epoch(0, num_cases=20)
    most = 20 + 2 * 2 * 4  # two batches of each process
    wait_until(lambda: dataset.read.value == most)
    time.sleep(0.2)
    assert dataset.read.value == most
    loader.sampler.set_epoch(1)
    assert list(loader) == plain_epoch(1, num_cases=20)


def test_an_iterator_that_is_taken_as_lightning_takes_it() -> None:
    """As many batches as there are, and never the end."""
    loader = loader_of(1, num_cases=20)
    for epoch in range(3):
        batches = iter(loader)
        loader.sampler.set_epoch(epoch)
        assert [next(batches) for _ in range(len(loader))] == plain_epoch(epoch, num_cases=20)


@WORKERS
@pytest.mark.parametrize("ahead", [False, True], ids=["as read", "ahead"])
def test_an_error_comes_behind_the_batches_before_it(workers: int, ahead: bool) -> None:
    loader = loader_of(workers, ahead=ahead, dataset=Counted(broken=9))
    batches = iter(loader)
    assert [next(batches), next(batches)] == plain_epoch(0)[:2]
    with pytest.raises(SuiteError, match="cannot be read"):
        next(batches)
    loader.sampler.set_epoch(1)
    assert next(iter(loader)) == plain_epoch(1)[0]  # and it can be begun anew


def test_closed_processes_are_begun_anew() -> None:
    """Lightning ends the processes of a loader at the end of a fit, and takes them from where torch keeps them."""
    from pytorch_lightning.utilities.combined_loader import CombinedLoader

    loader = loader_of(1)
    combined = CombinedLoader(loader)
    first = [batch for batch, *_ in combined]
    processes = loader._iterator._workers
    combined.reset()
    assert loader._iterator is None
    assert not any(process.is_alive() for process in processes)
    assert list(loader) == first == plain_epoch(0)


def test_an_empty_epoch_ends() -> None:
    assert list(Epochs(TrainSampler(2, 0), 4, drop_last=True)) == []
