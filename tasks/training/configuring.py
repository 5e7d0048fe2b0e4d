"""Optimiser and learning-rate schedules that Lightning steps, from the settings of a training."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Literal, cast

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.optim.lr_scheduler import ReduceLROnPlateau

from scansuite.errors import SuiteError
from tasks.training.flags import learning_rate_scales
from tasks.training.optimizers import build_optimizer, let_clip
from tasks.training.schedules import Span, build_schedules
from tasks.training.settings import OptimizerSettings, ScheduleSettings

if TYPE_CHECKING:
    from backbones.pyramid import Backbone

Monitor = tuple[str, Literal["min", "max"]]


def configured(
    model: LightningModule,
    backbone: Backbone,
    asked: OptimizerSettings,
    schedule: ScheduleSettings,
    monitor: Monitor,
    *,
    unfreezes: bool,
) -> OptimizerLRScheduler:
    """The optimiser of a model, a schedule that moves each step, and one that moves each epoch by the metric.

    Args:
        model: with its trainer.
        backbone: of the model, below ``backbone.`` in the names of its parameters.
        asked: of the optimiser.
        schedule: of the learning rate.
        monitor: metric of validation that a plateau schedule looks at, and ``max`` or ``min``.
        unfreezes: frozen parts of the backbone will train later.

    Raises:
        SuiteError: the training has no end, or an argument of the optimiser or the schedule does not fit.
    """
    optimizer = build_optimizer(
        model,
        asked.name,
        asked.lr,
        asked.weight_decay,
        asked.args,
        scales=learning_rate_scales(backbone, asked.backbone_lr_factor, asked.layer_decay),
        waiting={f"backbone.{name}" for name in backbone.waiting} if unfreezes else (),
    )
    trainer = model.trainer
    if trainer.gradient_clip_val:
        let_clip(optimizer)
    steps, epochs = trainer.estimated_stepping_batches, trainer.max_epochs
    if steps == math.inf or epochs is None:
        raise SuiteError("--trainer.max_epochs -1: the learning-rate schedule needs an end: give a number")
    if epochs == -1:  # --trainer.max_steps ends the training, and Lightning has not counted the batches yet
        trainer.fit_loop.setup_data()
    per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    epochs = math.ceil(steps / per_epoch) if epochs == -1 else epochs
    metric, mode = monitor
    by_step, by_epoch = build_schedules(
        optimizer,
        schedule.name,
        schedule.args,
        lr=asked.lr,
        span=Span(epochs, per_epoch, int(steps)),
        warmup=schedule.warmup,
        mode=mode,
    )
    schedules: list[Any] = []
    if by_step is not None:
        schedules.append({"scheduler": by_step, "interval": "step"})
    if by_epoch is not None:
        # Not stepped by Lightning, which does so after the checkpoint of the epoch has been written.
        never: dict[str, Any] = {"interval": "epoch", "frequency": sys.maxsize}
        schedules.append({"scheduler": by_epoch, "monitor": f"val/{metric}", **never})
    return cast("OptimizerLRScheduler", ([optimizer], schedules))


def move_schedule(scheduler: Any, metric: Any, steps: int) -> None:
    """Let a schedule take steps, as Lightning lets it take one.

    Args:
        scheduler: of torch.
        metric: that it looks at; None: at none.
        steps: how many.
    """
    for _ in range(steps):
        scheduler.step() if metric is None else scheduler.step(metric)


def step_plateau(trainer: Trainer) -> None:
    """Step a plateau schedule, so that the checkpoint of this epoch has its state and a resumed run goes on.

    Raises:
        SuiteError: there is no validation to look at.
    """
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, ReduceLROnPlateau):
            value = trainer.callback_metrics.get(str(config.monitor))
            if value is None and trainer.enable_validation:
                continue  # no validation in this epoch: nothing new is known
            if value is None:
                raise SuiteError(f"--model.schedule plateau: there is no {config.monitor}: give a validation part")
            config.scheduler.step(float(value))
