"""A training that ends on time (``--time``), its schedule finished, whatever the machine does meanwhile."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from datamodules.types import Batch
from scansuite.errors import SuiteError
from scansuite.words import clock
from tasks.training.pace import Pace, Usual

log = logging.getLogger(__name__)

_LOOKS = 8  # at the clock in an epoch
_EPOCHS = 5  # whose pauses count
_VALIDATIONS = 10  # of a training that are kept where these take too much of its time


class OnTime(Callback):
    """Measures steps and validations, and moves the end of the training, and of its schedule, so that time is kept.

    It looks at the clock several times an epoch. The number of epochs follows, and the last one ends where it must: it
    is validated there. With several ranks the first one decides for all.

    Args:
        seconds: from the start of the command to its end.
        started: when the command was started, by the clock.
        behind: from the seconds of a validation to those of all that comes after the training.
        stretches: train for longer than planned where there is time.
        validating: largest share of the time that validations may take: where epochs turn out shorter than a trial had
            them, not all are validated; None: those that the trainer says.
        now: the clock.

    Attributes:
        pace: of the training, once it has begun.
    """

    def __init__(
        self,
        seconds: float,
        started: float,
        behind: Callable[[float], float],
        *,
        stretches: bool,
        validating: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds, self.started, self.behind, self.stretches, self.now = seconds, started, behind, stretches, now
        self.validating, self._every = validating, 1
        self.pace: Pace | None = None
        self._used = 0.0  # before this process
        self._over = False
        self._batch, self._pause, self._validation = Usual(), Usual(_EPOCHS), Usual(_EPOCHS)
        self._mark: float | None = None  # when what is measured began
        self._validating = self._validated = self._trying = 0.0
        self._behind_epoch: float | None = None
        self._tried: float | None = None  # of a validation, by the batches that Lightning tries before training
        self._first = True

    # A run that goes on.

    def state_dict(self) -> dict[str, Any]:
        """Time that was used, and where the schedule stands."""
        pace = {} if self.pace is None else self.pace.state_dict()
        used = self._used + self.now() - self.started
        asked = {"seconds": self.seconds, "stretches": self.stretches, "validating": self.validating}
        return {"used": used, "over": self._over, "pace": pace, **asked}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up."""
        self._used, self._over = float(state_dict["used"]), bool(state_dict["over"])
        self.pace = Pace(**state_dict["pace"]) if state_dict["pace"] else None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep how many epochs there are by now."""
        checkpoint["epochs_on_time"] = trainer.max_epochs

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Have as many, before Lightning compares them with those that are over."""
        if "epochs_on_time" in checkpoint:
            trainer.fit_loop.max_epochs = checkpoint["epochs_on_time"]

    # Training.

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin.

        Raises:
            SuiteError: the time is over already.
        """
        if self.pace is None:
            self.pace = Pace(int(trainer.estimated_stepping_batches), self.stretches)
        cast("Any", pl_module).pace = self.pace
        self._every = trainer.check_val_every_n_epoch or 1
        if self._over:
            trainer.should_stop = True
            return
        gone = self.seconds - self._left()
        if trainer.is_global_zero and self._left() <= self.behind(0.0):
            raise SuiteError(
                f"--time {clock(self.seconds)}: {clock(gone)} are over before the first step, and evaluation takes "
                f"some {clock(self.behind(0.0))}: give at least --time {math.ceil(3 * (gone + self.behind(0.0)))}s"
            )
        log.info(
            "--time %s: %s are over, and the training is paced to end in time; when that is depends on the machine, so "
            "that this run cannot be repeated bit for bit",
            clock(self.seconds),
            clock(gone),
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch begins; what lay between it and the last one is over."""
        now = self.now()
        if self._behind_epoch is not None:
            self._pause.add(max(0.0, now - self._behind_epoch - self._validated))
        self._behind_epoch, self._mark = None, now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Measure the batch, look at the clock now and then, and end where the time is over."""
        now, pace = self.now(), self.pace
        assert pace is not None
        if self._mark is not None and not self._first:  # the first batch warms up
            self._batch.add(now - self._mark)
        self._first, self._mark = False, now
        batches = trainer.num_training_batches
        at_end = batch_idx + 1 >= batches
        if at_end:
            self._behind_epoch, self._validated = now, 0.0
        if not math.isinf(batches) and (at_end or (batch_idx + 1) % max(1, int(batches) // _LOOKS) == 0):
            self._aim(trainer, batch_idx + 1)
        self._end(trainer, at_end=at_end)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation begins."""
        self._validating = self.now()

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """A batch of it begins."""
        self._trying = self.now()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """One that is tried before training says what a validation takes, until there has been one."""
        if trainer.sanity_checking:  # the last one counts: the first warms up
            self._tried = (self.now() - self._trying) * sum(trainer.num_val_batches)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """It is over; within an epoch it counts to none of its steps."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._mark = self.now()
            self._validated = self._mark - self._validating
            self._validation.add(self._validated)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how it ended."""
        if self.pace is None or self._over:
            return
        self._over = True
        rates = ", ".join(sorted({f"{group['lr']:.3g}" for each in trainer.optimizers for group in each.param_groups}))
        log.info(
            "--time %s: training ended after %s and %d steps, %d of %d steps of the schedule over, learning rate %s",
            clock(self.seconds), clock(self.seconds - self._left()), trainer.global_step, self.pace.taken,
            self.pace.total, rates,
        )  # fmt: skip

    def _left(self) -> float:
        """Seconds until the command is to be over."""
        return self.seconds - self._used - (self.now() - self.started)

    def _aim(self, trainer: Trainer, begun: int) -> None:
        """Move the end to where the time is over, on all ranks alike."""
        a_batch, pace = self._batch.seconds, self.pace
        assert pace is not None
        if a_batch is None and trainer.world_size == 1:
            return
        accumulated = trainer.accumulate_grad_batches
        an_epoch = math.ceil(trainer.num_training_batches / accumulated)
        if trainer.is_global_zero and a_batch is not None:
            validation = self._validation.seconds or self._tried or 0.0
            self._thin_out(trainer, validation, a_batch * trainer.num_training_batches)
            share = validation * _validations(trainer)
            left = self._left() - self.behind(validation) - (validation - share)  # the last steps are validated once
            pause = (self._pause.seconds or 0.0) + share
            pace.aim(trainer.global_step, left, a_batch * accumulated, pause, an_epoch, begun // accumulated)
        if trainer.world_size > 1:
            every = trainer.check_val_every_n_epoch
            pace.last, pace.closing, every = trainer.strategy.broadcast((pace.last, pace.closing, every))
            trainer.check_val_every_n_epoch = every
        if trainer.max_epochs == -1:  # counted in steps
            return
        to_come = max(0, pace.last - trainer.global_step - (an_epoch - begun // accumulated))
        trainer.fit_loop.max_epochs = trainer.current_epoch + 1 + math.ceil(to_come / an_epoch)

    def _thin_out(self, trainer: Trainer, validation: float, an_epoch: float) -> None:
        """Validate so seldom that it takes its share, by the seconds of a validation and of an epoch's batches."""
        epochs = trainer.max_epochs
        if self.validating is None or trainer.check_val_every_n_epoch is None or epochs is None or epochs < 1:
            return
        wanted = math.ceil(validation * (1 / self.validating - 1) / max(1e-9, an_epoch))
        trainer.check_val_every_n_epoch = max(self._every, min(wanted, epochs // _VALIDATIONS))

    def _end(self, trainer: Trainer, *, at_end: bool) -> None:
        """End with this step where it is the last; what is trained by then is validated."""
        assert self.pace is not None
        if trainer.global_step < self.pace.last:
            return
        if trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1
        if at_end and _ends_validated(trainer) and trainer.max_epochs != -1:
            trainer.fit_loop.max_epochs = trainer.current_epoch + 1
        else:  # which validates first
            trainer.should_stop = True


def _ends_validated(trainer: Trainer) -> bool:
    """Whether an epoch's last batch is validated: where batches or a clock say when, it may be none of theirs."""
    every = trainer.val_check_batch
    if trainer.check_val_every_n_epoch is None or every is None:
        return False
    return math.isinf(every) or trainer.num_training_batches % every == 0


def _validations(trainer: Trainer) -> float:
    """How many an epoch has, in the mean."""
    every, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if every is None or math.isinf(every):
        return 1 / (epochs or 1)
    an_epoch = trainer.num_training_batches / every
    return an_epoch if epochs is None else math.floor(an_epoch) / epochs
