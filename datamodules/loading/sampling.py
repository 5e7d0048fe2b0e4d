"""Samplers that are right on one device and on many, and that repeat with the seed.

They replace Lightning's own distributed samplers (``use_distributed_sampler=False``), which know neither the seed words
of :class:`~datamodules.types.Draw` nor which cases stand in a batch only as padding.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from datamodules.types import Draw


class TrainSampler(Sampler[Draw]):
    """Shuffled (or weighted) draws, the same order on every rank, dealt out in turn.

    Every rank gets the same number of draws. Where the count is uneven the order is filled up from its own start, with
    draws that are marked as padding and left out of losses and metrics: the ranks together see what one process sees.

    Args:
        num_cases: size of the training part.
        seed: of the run.
        rank: number of this process.
        world_size: number of processes.
        weights: (num_cases,) relative chance of each case; draws are then with replacement (balanced sampling).
        times: (num_cases,) how often each case is drawn in an epoch, by patches; left out: once.
    """

    def __init__(
        self,
        num_cases: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        weights: NDArray[np.float64] | None = None,
        times: NDArray[np.int64] | None = None,
    ) -> None:
        self.num_cases, self.seed, self.rank, self.world_size = num_cases, seed, rank, world_size
        self.times = times
        self.num_draws = num_cases if times is None else int(times.sum())
        if weights is not None and times is not None:
            weights = weights * times
        self.chance = None if weights is None else weights / weights.sum()
        self.epoch, self.start = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def set_start(self, draws: int) -> None:
        """Let the next iteration, and that alone, leave out the first draws of this rank, which a run has behind it.

        The length stays that of the whole epoch: so do the loader's number of batches and the schedules.

        Args:
            draws: how many of this rank's are behind.

        Raises:
            ValueError: fewer than none.
        """
        if draws < 0:
            raise ValueError(f"{draws} draws cannot be left out")
        self.start = draws

    def __len__(self) -> int:
        return -(-self.num_draws // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        first, self.start = self.rank + self.start * self.world_size, 0
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.chance is not None:
            order = rng.choice(self.num_cases, size=self.num_draws, p=self.chance)
        else:
            order = rng.permutation(self.num_draws)
            if self.times is not None:
                order = np.repeat(np.arange(self.num_cases), self.times)[order]
        total = len(self) * self.world_size
        order = np.resize(order, total)
        for position in range(first, total, self.world_size):
            yield Draw(int(order[position]), (self.seed, self.epoch, position), padding=position >= self.num_draws)


class EvaluationSampler(Sampler[Draw]):
    """Every case once, in order, dealt out to the ranks in turn.

    Where the count is uneven the last rank repeats a case, marked as padding: collectives need the same number of
    batches everywhere, metrics and tables leave padding out.

    Args:
        num_cases: size of the part.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(self, num_cases: int, rank: int = 0, world_size: int = 1) -> None:
        self.num_cases, self.rank, self.world_size = num_cases, rank, world_size

    def __len__(self) -> int:
        return -(-self.num_cases // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        for position in range(self.rank, len(self) * self.world_size, self.world_size):
            yield Draw(position % self.num_cases, padding=position >= self.num_cases)


def balanced_weights(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chances that make every class equally likely: (N,) class numbers -> (N,) weights."""
    counts = np.bincount(classes)
    return 1.0 / counts[classes]
