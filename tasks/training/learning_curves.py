"""``learning_curves.png`` while a training runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from tasks.evaluation.charts.run_charts import draw_training
from tasks.training.epoch_table import Monitored

_SHARE = 0.01  # of the time of a training that drawing may take
_FIRST = 1.0  # seconds that the first drawing is taken to cost, matplotlib's import with it (measured: 0.5)


class LearningCurves(Checkpoint):
    """Draws ``metrics.csv`` at the end of an epoch, where that costs less than a hundredth of the time since the last.

    A training of short epochs is drawn every minute or so, one of long epochs after each. What is drawn when all is
    done does not depend on it (:func:`~tasks.evaluation.charts.run_charts.draw_charts`). Behind
    :class:`~tasks.training.epoch_table.EpochTable` among the callbacks, whose row it draws.

    Args:
        run_dir: with the ``metrics.csv``.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._cost, self._last = _FIRST, time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from here."""
        self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, or leave it to a later epoch."""
        start = time.monotonic()
        if not trainer.is_global_zero or self._cost > _SHARE * (start - self._last):
            return
        draw_training(self.run_dir, cast("Monitored", pl_module).monitor, getattr(pl_module, "class_names", ()))
        self._last = time.monotonic()
        self._cost = self._last - start
