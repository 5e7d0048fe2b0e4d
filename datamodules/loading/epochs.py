"""Epochs of training that follow one another without a gap: the next one is read while this one is validated."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, Sampler

from datamodules.loading.sampling import TrainSampler
from datamodules.types import Draw


class Epochs(Sampler[list[Draw]]):
    """Batches of draws of one epoch after the other, without an end; each as :class:`TrainSampler` has it.

    Args:
        sampler: of an epoch; its own epoch and start are not changed.
        batch_size: draws in a batch.
        drop_last: leave out the last batch of an epoch where it is smaller.
    """

    def __init__(self, sampler: TrainSampler, batch_size: int, *, drop_last: bool) -> None:
        self.batch_size, self.drop_last = batch_size, drop_last
        self._sampler, self._first = sampler, (0, 0)

    def begin(self, epoch: int, start: int) -> None:
        """Let the next iteration begin in an epoch, without the first ``start`` draws of it."""
        self._first = (epoch, start)

    def batches(self, start: int = 0) -> int:
        """Number of batches in what is left of an epoch after its first draws."""
        draws = max(0, len(self._sampler) - start)
        return draws // self.batch_size if self.drop_last else -(-draws // self.batch_size)

    def __len__(self) -> int:
        return self.batches()

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, start = self._first
        while self.batches() > 0:
            sampler: Any = copy.copy(self._sampler)
            sampler.set_epoch(epoch)
            sampler.set_start(start)
            batches: Any = BatchSampler(sampler, self.batch_size, self.drop_last)
            yield from batches
            epoch, start = epoch + 1, 0


class EpochLoader(DataLoader[Any]):
    """A loader that draws nothing before the first batch of an epoch is asked for, and then does not stop.

    Lightning makes the iterator of an epoch before it says which epoch that is: the first one of a resumed run, whose
    number it does not know itself by then, and each one with ``reload_dataloaders_every_n_epochs``. Processes that read
    ahead from that moment on would draw epoch 0. So epoch and start are looked at when the first batch is asked for.

    Where loader processes persist they go on with the next epoch at the end of one, as far as they read ahead
    (``prefetch_factor`` batches each). If that is what is then asked for, its first batches are there; if not (epochs
    that are cut short, a start within one), they begin anew. What is drawn is the same in every case.

    Args:
        dataset: takes draws.
        sampler: of the epochs.
        batch_size: draws in a batch.
        drop_last: leave out the last batch of an epoch where it is smaller.
        **kwargs: of :class:`torch.utils.data.DataLoader`.
    """

    def __init__(
        self, dataset: Any, *, sampler: Sampler[Any], batch_size: int = 1, drop_last: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(dataset, batch_size=batch_size, sampler=sampler, drop_last=drop_last, **kwargs)
        # Lightning puts a sampler of torch's into our place where it is to train on a few batches alone.
        self._epochs: Epochs | None = None
        if isinstance(sampler, TrainSampler):
            self._epochs = Epochs(sampler, batch_size, drop_last=drop_last)
        self._next: tuple[int, int] | None = None  # epoch and start of the next batch that the processes hand over

    @property
    def _index_sampler(self) -> Any:
        """What torch's iterators take the draws of a batch from."""
        return super()._index_sampler if self._epochs is None else self._epochs

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches of an epoch; a generator runs nothing before the first of them."""
        if self._epochs is None:
            yield from super().__iter__()
            return
        sampler: Any = self.sampler
        epoch, start = sampler.epoch, sampler.start
        sampler.set_start(0)  # it is of one iteration alone
        batches: Any = self._iterator
        if batches is None or self._next != (epoch, start):
            self._epochs.begin(epoch, start)
            batches = super().__iter__()
        self._next = None
        count = self._epochs.batches(start)
        for number in range(1, count + 1):
            batch = next(batches)
            if number == count:
                self._next = (epoch + 1, 0)
            yield batch
