"""How long a training still takes, from how long it took so far."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

_RECENT = 5  # epochs whose median counts: the first one warms up, the last may have been disturbed


class Remaining:
    """An estimate of the seconds that a training still takes, evaluation after it left out.

    Before an epoch has ended, steps count alone; then whole epochs do, with their validations and saves. A training
    that stops early ends sooner.

    Args:
        now: a clock in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._epochs: deque[float] = deque(maxlen=_RECENT)
        self._start = now()
        self._first = 0

    def begin_epoch(self, done: int = 0) -> None:
        """An epoch begins.

        Args:
            done: steps of it that an earlier run took.
        """
        self._start, self._first = self._now(), done

    def end_epoch(self) -> None:
        """It has ended, with its validation."""
        if not self._first:  # one that was taken up in its middle says too little
            self._epochs.append(self._now() - self._start)
        self._start, self._first = self._now(), 0

    def seconds(self, done: int, steps: float, epochs: float) -> float | None:
        """Seconds left.

        Args:
            done: steps of this epoch so far.
            steps: of an epoch.
            epochs: to come after this one; the share of one counts too.

        Returns:
            None where nothing is known yet, or an epoch has no end.
        """
        passed = self._now() - self._start
        if self._epochs and not math.isinf(epochs):
            epoch = statistics.median(self._epochs)
            whole = epoch * (steps - self._first) / steps if self._first and steps else epoch
            return max(0.0, whole - passed) + epochs * epoch
        taken = done - self._first
        if taken < 1 or math.isinf(steps) or math.isinf(epochs):
            return None
        return passed / taken * (steps - done + epochs * steps)

    def seconds_behind_epoch(self, steps: float, epochs: float) -> float | None:
        """Seconds left where an epoch has just ended; None behind the last one. Arguments as in :meth:`seconds`."""
        return self.seconds(0, steps, epochs - 1) if epochs > 0 else None


def steps_before(trainer: Trainer) -> int:
    """Steps of the epoch that begins which an earlier run took; Lightning still counts those of the last epoch then."""
    done = int(trainer.fit_loop.epoch_loop.batch_progress.current.completed)
    return done if done < trainer.num_training_batches else 0


def to_come(trainer: Trainer, done: int) -> tuple[float, float]:
    """Steps of this epoch, and epochs behind it, as ``max_epochs`` and ``max_steps`` have it; infinity: no end."""
    steps = float(trainer.num_training_batches)
    endless = trainer.max_epochs in (None, -1)
    epochs = math.inf if endless else float((trainer.max_epochs or 0) - trainer.current_epoch - 1)
    if trainer.max_steps > 0 and not math.isinf(steps):
        most = (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches
        steps, whole = min(steps, float(done + most)), steps
        epochs = min(epochs, max(0.0, done + most - whole) / max(1.0, whole))
    return steps, epochs


def numbered(number: int, total: int | None) -> str:
    """``3/20``, or ``3`` where there is no end."""
    return f"{number}" if total in (None, -1) else f"{number}/{total}"
