"""How long a training is, and when schedules that follow a metric move, as Lightning's trainer knows it."""

from __future__ import annotations

import math

from pytorch_lightning import Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from scansuite.errors import SuiteError
from tasks.training.schedules import Span


def span_of(trainer: Trainer) -> Span:
    """Epochs, steps an epoch, and steps in all.

    Raises:
        SuiteError: the training has no end.
    """
    steps, epochs = trainer.estimated_stepping_batches, trainer.max_epochs
    if steps == math.inf or epochs is None:
        raise SuiteError("--trainer.max_epochs -1: the learning-rate schedule needs an end: give a number")
    if epochs == -1:  # --trainer.max_steps ends the training, and Lightning has not counted the batches yet
        trainer.fit_loop.setup_data()
    per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    epochs = math.ceil(steps / per_epoch) if epochs == -1 else epochs
    return Span(epochs, per_epoch, int(steps))


def step_plateau(trainer: Trainer) -> None:
    """Step a plateau schedule, so that the checkpoint of this epoch has its state and a resumed run goes on.

    Raises:
        SuiteError: there is no validation that it could follow.
    """
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, ReduceLROnPlateau):
            value = trainer.callback_metrics.get(str(config.monitor))
            if value is None and trainer.enable_validation:
                continue  # no validation in this epoch: nothing new is known
            if value is None:
                raise SuiteError(f"--model.schedule plateau: there is no {config.monitor}: give a validation part")
            config.scheduler.step(float(value))
