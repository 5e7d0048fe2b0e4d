"""Display of a training: one line on a terminal that is drawn anew in its place, plain lines elsewhere."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar, Timer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from scansuite.words import clock
from tasks.cli.display.bar import Line, LiveLine, Part
from tasks.cli.display.console import is_quiet
from tasks.cli.display.evaluation import Display, EvaluationDisplay, total_batches
from tasks.training.epoch_table import Monitored
from tasks.training.remaining import Remaining, numbered, steps_before, to_come

log = logging.getLogger(__name__)

_LOOK = 0.5  # seconds from one look at the loss to the next
_SAY_EVERY = 300.0  # seconds, in a log file: within long epochs


def show_progress(settings: dict[str, Any], doing: str = "evaluating") -> None:
    """Put our displays in the place of Lightning's progress bar, unless the user has chosen one or none.

    Args:
        settings: of a trainer; changed in place.
        doing: what it does when it does not train.
    """
    callbacks = settings.get("callbacks") or []
    if settings.get("enable_progress_bar") is False or any(isinstance(own, ProgressBar) for own in callbacks):
        return
    settings["enable_progress_bar"] = False
    settings["callbacks"] = [*callbacks, TrainingDisplay(), EvaluationDisplay(doing)]


class TrainingDisplay(Display):
    """Shows how far a training is: epoch, steps, loss, the monitored metric, learning rate, and what is left.

    Each epoch has a line that stays on the screen (:class:`~tasks.training.epoch_table.EpochTable`). Where there is no
    terminal, a long epoch says a line each five minutes too.
    """

    def __init__(self) -> None:
        super().__init__(LiveLine(self._line, _SAY_EVERY))
        self._remaining = Remaining()
        self._loss = _LastLoss()
        self._rate = self._metric = ""
        self._trainer: Trainer | None = None
        self._done = 0  # steps of the epoch
        self._over = False  # the epoch has ended, and the next one has not begun
        self._validated: tuple[int, float] | None = None  # batches, and of how many, where that goes on

    def _line(self) -> Line:
        """Worked out where it is drawn or said, not in each step."""
        trainer = self._trainer
        if trainer is None:
            return Line("training", None, [])
        steps, epochs = to_come(trainer, self._done)
        done, of = self._validated or (self._done, steps)
        last = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else math.inf
        # Behind the last epoch Lightning counts one more before it ends.
        lead = f"epoch {numbered(int(min(trainer.current_epoch + 1, last)), trainer.max_epochs)}"
        share = None if math.isinf(of) else min(1.0, done / max(1.0, of))
        count = f"{done}" if math.isinf(of) else f"{done}/{of:.0f}"
        # Where the terminal is narrow: loss, time and metric are worth more than steps and rate.
        left = self._left(trainer, steps, epochs)
        told = ((count, 1), (self._loss.text, 4), (self._metric, 2), (self._rate, 0), (left, 3))
        parts = [Part(text, worth) for text, worth in told if text]
        return Line(lead if self._validated is None else f"{lead} validating", share, parts)

    def _left(self, trainer: Trainer, steps: float, epochs: float) -> str:
        if self._over:
            seconds = self._remaining.seconds_behind_epoch(steps, epochs)
        else:
            seconds = self._remaining.seconds(self._done, steps, epochs)
        for timer in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(timer, Timer) and (most := timer.time_remaining()) is not None:  # --trainer.max_time
                seconds = most if seconds is None else min(seconds, most)
        return "" if seconds is None or math.isinf(seconds) else f"{clock(seconds)} left"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a line; Lightning leaves out ``on_train_epoch_start`` where a run goes on within an epoch."""
        self._begin_epoch(trainer)
        if trainer.is_global_zero:
            self.bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from 1."""
        self._begin_epoch(trainer)

    def _begin_epoch(self, trainer: Trainer) -> None:
        self.bar.wait()
        self._trainer, self._done, self._validated, self._over = trainer, steps_before(trainer), None, False
        self._remaining.begin_epoch(self._done)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step, and look at its loss now and then."""
        if is_quiet() or not trainer.is_global_zero:
            return
        now = time.monotonic()
        if now - self._loss.looked >= _LOOK:
            self._loss.looked = now
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if isinstance(loss, Tensor):
                self._loss.look(loss.detach() * trainer.accumulate_grad_batches)  # Lightning has divided it
            if trainer.optimizers:
                self._rate = f"lr {trainer.optimizers[0].param_groups[0]['lr']:.2g}"
        self._done, self._validated = batch_idx + 1, None
        self.bar.update()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: object
    ) -> None:
        """Say that an epoch is being validated, and how far that is."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self._validated = batch_idx + 1, total_batches(trainer.num_val_batches)
        self.bar.redraw()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up the metric that the best weights are chosen by."""
        self._remaining.end_epoch()
        self._over = True
        name = cast("Monitored", pl_module).monitor[0]
        if (value := trainer.callback_metrics.get(f"val/{name}")) is not None:
            self._metric = f"val/{name} {float(value):.4f}"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the line away."""
        self.bar.stop()


class _LastLoss:
    """The loss of a step not long ago, for which a GPU is not waited for."""

    def __init__(self) -> None:
        self.text = ""
        self.looked = 0.0
        self._coming: Tensor | None = None
        self._event: Any = None  # of the copy; None: nothing is asked

    def look(self, loss: Tensor) -> None:
        """Take a loss, (), or on a GPU the one that was asked for before and is there by now."""
        if not loss.is_cuda:
            self.text = f"loss {float(loss):.4f}"
            return
        if self._coming is None:
            self._coming = torch.empty((), dtype=torch.float32, pin_memory=True)
        if self._event is not None:
            if not self._event.query():
                return
            self.text = f"loss {float(self._coming):.4f}"
        self._coming.copy_(loss.float(), non_blocking=True)
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record()
