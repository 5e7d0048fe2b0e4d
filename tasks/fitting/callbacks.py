"""Callbacks of training from the arguments of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytorch_lightning import Callback

from tasks.compression.sparsity import Sparsity
from tasks.fitting.teaching import distillation
from tasks.training.averaging import Ema, Swa
from tasks.training.early_stopping import SmoothedStopping
from tasks.training.mixing import Mixing
from tasks.training.unfreezing import Unfreezing

if TYPE_CHECKING:
    from tasks.base import Task


def training_callbacks(model: Task, seed: int, teacher: Path | None = None) -> list[Callback]:
    """Callbacks that ``--model.teacher``, ``prune``, ``unfreeze``, ``mixup``, ``cutmix``, ``ema``, ... ask for.

    Args:
        model: made from these flags.
        seed: of the run.
        teacher: where the checkpoint of ``--model.teacher`` lies; left out: at the path that it names.

    Raises:
        SuiteError: the teacher cannot be used.
    """
    callbacks: list[Callback] = []
    # In front of averages, which copy the model and take up its weights after each step.
    if model.distillation.teacher is not None:
        callbacks.append(distillation(model, teacher or Path(model.distillation.teacher)))
    if model.pruning.method == "magnitude":
        callbacks.append(Sparsity())
    if model.network.unfreeze is not None:
        callbacks.append(Unfreezing(model.network.unfreeze))
    if model.mixup or model.cutmix:
        callbacks.append(Mixing(model.mixup, model.cutmix, seed))
    if model.averaging.ema is not None:
        callbacks.append(Ema(model.averaging.ema))
    if model.averaging.swa is not None:
        callbacks.append(Swa(model.averaging.swa))
    if model.early_stopping is not None:
        metric, mode = model.monitor
        over, gain = model.early_stopping_median, model.early_stopping_gain
        callbacks.append(SmoothedStopping(f"val/{metric}", mode, model.early_stopping, over, gain))
    return callbacks
