"""Small fits through a real trainer, run through or cut and resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from tasks.classify.task import ClassificationTask
from tasks.fitting.callbacks import training_callbacks
from tasks.predictor import StepOutput
from tasks.training.configuring import step_plateau
from tasks.training.seeding import SeedEpochs
from tests.tasks.classify.batches import random_labels, small_batch, small_task

EPOCHS, SEED, SIDE = 4, 5, 32


def made(**flags: Any) -> ClassificationTask:
    """The same weights at each call."""
    torch.manual_seed(0)
    return small_task(**{"input_size": (SIDE, SIDE), "lr": 0.01, **flags})


class LearnsNothing(ClassificationTask):
    """Trains and validates without looking at the images; a plateau schedule is stepped."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return sum(p.sum() * 0 for p in self.parameters() if p.requires_grad)  # type: ignore[return-value]

    def validation_step(self, batch: Any, batch_idx: int) -> StepOutput[torch.Tensor]:
        return {"output": batch["image"], "batch": batch}

    def on_train_epoch_end(self) -> None:
        step_plateau(self.trainer)


def loader(seed: int, batches: int = 3, size: int = 4) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(batches * size, 1, SIDE, SIDE, generator=generator)
    label = random_labels("binary", batches * size, seed)
    parts = [small_batch(label[part], image[part]) for part in torch.arange(batches * size).chunk(batches)]
    return DataLoader(parts, batch_size=None)  # type: ignore[arg-type]


class Stop(Callback):
    """Ends the training as a kill between two epochs would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.current_epoch + 1 >= self.after:
            trainer.should_stop = True


def fit(
    model: ClassificationTask,
    folder: Path,
    *watchers: Callback,
    epochs: int = EPOCHS,
    resume_after: int | None = None,
    **trainer: Any,
) -> dict[str, Any]:
    """Fit with the callbacks of the command line and a checkpoint each epoch; the schedule is that of four epochs.

    Returns:
        The last checkpoint.
    """
    checkpoint = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    callbacks: Sequence[Callback] = [
        SeedEpochs(SEED), *training_callbacks(model, SEED), *watchers, checkpoint, Stop(epochs),
    ]  # fmt: skip
    runner = Trainer(
        accelerator="cpu", callbacks=list(callbacks), logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **{"max_epochs": EPOCHS, **trainer},
    )  # fmt: skip
    path = None if resume_after is None else str(folder / f"epoch={resume_after - 1}.ckpt")
    runner.fit(model, loader(1), loader(2), ckpt_path=path, weights_only=True)
    epoch = runner.current_epoch - 1
    saved: dict[str, Any] = torch.load(folder / f"epoch={epoch}.ckpt", weights_only=True)
    return saved
