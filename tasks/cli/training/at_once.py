"""A head that is fitted to kept features at once, in the place of a training."""

from __future__ import annotations

import logging
from pathlib import Path

from pytorch_lightning import Trainer

from datamodules.base import ScanDataModule
from tasks.base import Task
from tasks.cli.before_training import facts

log = logging.getLogger(__name__)


def fit_at_once(trainer: Trainer, model: Task, data: ScanDataModule, run_dir: Path) -> None:
    """Say what is fitted to what, compute the features on the trainer's device, and fit.

    Args:
        trainer: that the model is evaluated by afterwards.
        model: whose head is fitted.
        data: which give features (:func:`tasks.fitting.features.keep_features`).
        run_dir: that is written to.
    """
    if trainer.is_global_zero:
        for line in (*facts(data, model), f"writes to: {run_dir}"):
            log.info("%s", line)
    data.trainer = trainer
    model.to(trainer.strategy.root_device)
    model.fit_on_features(data)
