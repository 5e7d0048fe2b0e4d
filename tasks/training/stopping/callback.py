"""Training that ends at a safe step where a signal asks for it, and saves within long epochs."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from datamodules.types import Batch
from tasks.training.stopping.agreement import Agreement
from tasks.training.stopping.mid_epoch import MidEpoch, Place
from tasks.training.stopping.signals import Stopped, StopSignals

log = logging.getLogger(__name__)

_SAVE, _STOP = 1, 2  # wishes; the larger goes before


class Stopping(Callback):
    """Ends a training where a signal has come, at the same safe step on all ranks, with everything saved.

    - Between steps, when gradients are not half gathered, it saves in the middle of the epoch.
    - In a validation it gives that up and saves what was before: a validation may last longer than a scheduler waits.
    - At the start of an epoch and behind the last one everything has been saved.

    The one line that says where the training stands comes from the command; this raises :class:`Stopped`.

    Args:
        signals: notes the signals; deferred while this looks.
        mid_epoch: saves within an epoch; it stands before this one among the callbacks.
        file: ``last.ckpt``.
        every_minutes: save within an epoch too, when so long nothing has been saved; None: at the ends of epochs alone.
    """

    def __init__(
        self, signals: StopSignals, mid_epoch: MidEpoch, file: Path, every_minutes: float | None = None
    ) -> None:
        self.signals, self.mid_epoch, self.file = signals, mid_epoch, file
        self.every = None if every_minutes is None else 60 * every_minutes
        self._agreement: Agreement | None = None
        self._saved = time.monotonic()
        self._due = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at signals from now on."""
        self._agreement = Agreement(trainer.strategy.root_device, trainer.world_size)
        self._saved, self._due = time.monotonic(), 0
        self.signals.deferred = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between epochs: the last one is saved."""
        self._saved, self._due = time.monotonic(), 0
        if self._agreed().now(self._wish(trainer)) == _STOP:
            epoch = trainer.current_epoch
            self._stop(trainer, f"after epoch {epoch} of {trainer.max_epochs}" if epoch else "before the first step")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Save, and stop, between steps."""
        if self._asked(trainer) and batch_idx > 0:
            self._act(trainer, pl_module, batch_idx, "between steps")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between training and validation."""
        self._look_in_validation(trainer, pl_module)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Give up a validation."""
        self._look_in_validation(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop behind the last epoch: what comes is evaluation, which goes on by itself."""
        stops = self._agreed().now(self._wish(trainer)) == _STOP
        self.signals.deferred = False
        if stops:
            self._stop(trainer, "after training, before evaluation")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Look no longer."""
        self.signals.deferred = False

    def _agreed(self) -> Agreement:
        assert self._agreement is not None
        return self._agreement

    def _wish(self, trainer: Trainer) -> int:
        if self.signals.name is not None:
            return _STOP
        late = self.every is not None and time.monotonic() - self._saved >= self.every
        return _SAVE if late and trainer.is_global_zero else 0

    def _asked(self, trainer: Trainer) -> int:
        """What is due; it stays so until it can be done."""
        self._due = max(self._due, self._agreed().step(self._wish(trainer)))
        return self._due

    def _look_in_validation(self, trainer: Trainer, model: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        if self._asked(trainer) == _STOP:
            done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
            self._act(trainer, model, done, "before validation")

    def _act(self, trainer: Trainer, model: LightningModule, batches: int, place: Place) -> None:
        if not self.mid_epoch.can_save(trainer, batches):
            return
        self._agreed().finish()
        self.mid_epoch.save(trainer, model, self.file, place)
        due, self._due, self._saved = self._due, 0, time.monotonic()
        epoch, of = trainer.current_epoch + 1, int(trainer.num_training_batches)
        where = f"after batch {batches} of {of} of epoch {epoch} (step {trainer.global_step})"
        if due == _STOP:
            self._stop(trainer, where)
        log.info("saved %s", where)

    def _stop(self, trainer: Trainer, where: str) -> NoReturn:
        self._agreed().finish()
        self.signals.deferred = False
        # Where another rank got the signal, this one ends by it too.
        self.signals.name = self.signals.name or signal.SIGTERM.name
        raise Stopped(self.signals.name, where)


def without_handlers(trainer: Trainer) -> None:
    """Keep Lightning from handling signals.

    On SLURM it saves inside its handler and requeues the job by itself; on SIGTERM it begins a collective inside the
    handler, forwards the signal to the processes that it has started, and each step of several ranks waits for a
    broadcast of it.
    """
    connector: Any = trainer._signal_connector
    connector.register_signal_handlers = lambda: None
    loop: Any = trainer.fit_loop.epoch_loop
    loop._broadcast_sigterm_tensor = lambda: None
