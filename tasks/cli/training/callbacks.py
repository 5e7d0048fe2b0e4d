"""From the flags of a model to the callbacks of its training."""

from __future__ import annotations

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import EarlyStopping

from tasks.base import Task
from tasks.cli.training.teaching import distillation
from tasks.compression.sparsity import Sparsity
from tasks.training.averaging import Ema, Swa
from tasks.training.flags import unfreezing_epochs
from tasks.training.mixing import Mixing
from tasks.training.unfreezing import Unfreezing


def training_callbacks(model: Task, seed: int) -> list[Callback]:
    """What ``--model.teacher``, ``prune``, ``unfreeze``, ``mixup``, ``cutmix``, ``ema``, ... ask for.

    Args:
        model: with these flags among its hyperparameters.
        seed: of the run.

    Raises:
        SuiteError: the teacher cannot be used.
    """
    flags = model.hparams
    callbacks: list[Callback] = []
    # In front of averages, which copy the model and take up its weights after each step.
    if flags["teacher"] is not None:
        callbacks.append(distillation(model))
    if flags["prune"] == "magnitude":
        callbacks.append(Sparsity())
    if (epochs := unfreezing_epochs(flags["unfreeze"])) is not None:
        callbacks.append(Unfreezing(epochs))
    if flags.get("mixup") or flags.get("cutmix"):
        callbacks.append(Mixing(flags["mixup"], flags["cutmix"], seed))
    if flags["ema"] is not None:
        callbacks.append(Ema(flags["ema"]))
    if flags["swa"] is not None:
        callbacks.append(Swa(flags["swa"]))
    if flags["early_stopping"] is not None:
        metric, mode = model.monitor
        callbacks.append(
            EarlyStopping(
                f"val/{metric}",
                mode=mode,
                patience=flags["early_stopping"],
                check_on_train_epoch_end=True,
                strict=False,  # there are epochs without validation
                check_finite=False,  # a metric may be undefined in an epoch
            )
        )
    return callbacks
