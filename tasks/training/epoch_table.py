"""``metrics.csv``: one row an epoch, kept over a resume."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any, Protocol, cast

import pandas as pd
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from scansuite.words import clock
from tasks.evaluation.tables import read_table, write_table
from tasks.training.remaining import Remaining, numbered, steps_before, to_come

log = logging.getLogger(__name__)


class Monitored(Protocol):
    """A model that says by which metric its best weights are known, and whether that rises or falls."""

    monitor: tuple[str, str]


class EpochTable(Checkpoint):
    """Writes what was logged in each epoch, with learning rate and seconds.

    Lightning runs callbacks of the family ``Checkpoint`` after the model's own hooks: the metrics that the model logs
    at the end of an epoch are there by then. Lightning's ``CSVLogger`` writes training and validation into rows of
    their own, and begins anew on resume.

    Args:
        file: the ``metrics.csv``.
        verbose: say a line an epoch: the losses, the metric that the task monitors, and what is left.
    """

    def __init__(self, file: Path, *, verbose: bool) -> None:
        self.file, self.verbose = file, verbose
        self._rows: list[dict[str, float]] = []
        self._started = self._before = 0.0
        self._remaining = Remaining()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up the epochs that a resumed run has behind it; earlier the trainer does not know its epoch."""
        self._started, self._before = time.monotonic() - self._before, 0.0
        self._remaining.begin_epoch(steps_before(trainer))
        if self.file.is_file():
            past = read_table(self.file)
            rows = past[past["epoch"] < trainer.current_epoch].to_dict("records")
            self._rows = [{str(name): value for name, value in row.items()} for row in rows]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of what is left."""
        self._remaining.begin_epoch(steps_before(trainer))

    def state_dict(self) -> dict[str, Any]:
        """Seconds since the last row: of an epoch that is cut off."""
        return {"seconds": time.monotonic() - self._started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count them to those to come."""
        self._before = float(state_dict["seconds"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table anew; Lightning has run the validation of the epoch by now."""
        seconds, self._started = time.monotonic() - self._started, time.monotonic()
        self._remaining.end_epoch()
        if not trainer.is_global_zero:
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else float("nan")
        logged = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        start: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        self._rows.append({**start, **logged, "lr": float(rate), "seconds": round(seconds, 3)})
        write_table(pd.DataFrame(self._rows), self.file)
        if self.verbose:
            monitored = cast("Monitored", pl_module).monitor[0]
            shown = [name for name in ("train/loss", "val/loss", f"val/{monitored}") if name in logged]
            values = "  ".join(f"{name} {logged[name]:.4f}" for name in shown)
            took = f"{seconds:.1f} s" if seconds < 60 else clock(seconds)
            epoch = numbered(trainer.current_epoch + 1, trainer.max_epochs)
            log.info("epoch %s  %s  %s%s", epoch, values, took, self._left(trainer))

    def _left(self, trainer: Trainer) -> str:
        """What is left; nothing is said behind the last epoch."""
        done = trainer.num_training_batches
        steps, epochs = to_come(trainer, 0 if math.isinf(done) else int(done))
        seconds = self._remaining.seconds_behind_epoch(steps, epochs)
        return "" if seconds is None else f"  {clock(seconds)} left"
