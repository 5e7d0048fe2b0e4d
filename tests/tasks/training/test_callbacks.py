"""Callbacks of a fit through a real trainer, run through and resumed."""

from __future__ import annotations

import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from tasks.classify.task import ClassificationTask
from tasks.training.epoch_table import EpochTable
from tasks.training.seeding import SeedEpochs
from tests.tasks.classify.batches import random_labels, small_batch, small_task

# Resuming into the folder of the run, and fits of one batch, are meant.
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


class Drawn(ClassificationTask):
    """Writes down the numbers that each training step would draw, and the training metrics it logs."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.drawn: list[tuple[float, float, float]] = []
        self.logged: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.drawn.append((random.random(), float(np.random.rand()), torch.rand(()).item()))
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        self.logged.append(float(self.metrics["train_metrics"].compute()["auroc"]))  # type: ignore[operator]
        super().on_train_epoch_end()


def made() -> Drawn:
    torch.manual_seed(0)
    return Drawn(**dict(small_task(input_size=(32, 32), dropout=0.5, lr=0.01).hparams))


def loader(seed: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(12, 1, 32, 32, generator=generator)
    label = random_labels("binary", 12, seed)
    parts = [small_batch(label[part], image[part]) for part in torch.arange(12).chunk(3)]
    return DataLoader(parts, batch_size=None)  # type: ignore[arg-type]


def fit(model: Drawn, folder: Path, epochs: int, *callbacks: Callback, resume: bool = False) -> Trainer:
    """The callbacks, and a checkpoint each epoch; the schedule is that of three epochs however many are run."""
    checkpoint = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[*callbacks, checkpoint, Stop(epochs)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    path = str(folder / "epoch=1.ckpt") if resume else None
    trainer.fit(model, loader(1), loader(2), ckpt_path=path, weights_only=True)
    return trainer


class Stop(Callback):
    """Ends the training as a kill between two epochs would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.after


def test_seeds_repeat_and_a_resumed_run_finds_them_again(tmp_path: Path) -> None:
    through, cut, resumed, other = made(), made(), made(), made()
    fit(through, tmp_path / "through", 3, SeedEpochs(5))
    fit(cut, tmp_path / "cut", 2, SeedEpochs(5))
    torch.manual_seed(99)  # another process starts anywhere
    fit(resumed, tmp_path / "cut", 3, SeedEpochs(5), resume=True)
    fit(other, tmp_path / "other", 1, SeedEpochs(6))

    assert len(through.drawn) == 9
    assert cut.drawn == through.drawn[:6]
    assert resumed.drawn == through.drawn[6:]
    assert len({numbers for step in through.drawn for numbers in step}) == 27  # each epoch and generator its own
    assert not set(other.drawn) & set(through.drawn)
    for name, tensor in through.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)


def test_ranks_draw_different_numbers() -> None:
    drawn = []
    for rank in (0, 1):
        trainer: Any = SimpleNamespace(current_epoch=3, global_rank=rank)
        SeedEpochs(5).on_train_batch_start(trainer, pl_module=None, batch=None, batch_idx=0)  # type: ignore[arg-type]
        drawn += [random.random(), float(np.random.rand()), torch.rand(()).item()]
    assert len(set(drawn)) == 6


def test_a_row_an_epoch_with_the_metrics_of_that_epoch(tmp_path: Path) -> None:
    model = made()
    trainer = fit(model, tmp_path, 3, EpochTable(tmp_path / "metrics.csv", verbose=False))
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["step"].tolist() == [3, 6, 9]
    assert {"train/loss", "val/loss", "train/auroc", "val/auroc", "val/sensitivity"} < set(table.columns)
    assert table["train/auroc"].tolist() == pytest.approx(model.logged)
    assert len(set(model.logged)) > 1
    assert table["val/loss"].iloc[-1] == pytest.approx(float(trainer.callback_metrics["val/loss"]))
    assert (table["seconds"] > 0).all()
    assert table["lr"].is_monotonic_decreasing


def test_a_resumed_run_keeps_the_epochs_behind_it_and_drops_later_ones(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    fit(made(), tmp_path, 3, EpochTable(file, verbose=False))
    before = pd.read_csv(file)
    before["seconds"] = [11.0, 12.0, 13.0]
    before.to_csv(file, index=False)
    fit(made(), tmp_path, 3, EpochTable(file, verbose=False), resume=True)  # from the end of epoch 1
    after = pd.read_csv(file)
    assert after["epoch"].tolist() == [0, 1, 2]
    assert after["seconds"].tolist()[:2] == [11.0, 12.0]
    assert 0 < after["seconds"].iloc[2] < 10
    pd.testing.assert_frame_equal(after[:2], before[:2])


def test_says_a_line_an_epoch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    fit(made(), tmp_path, 1, EpochTable(tmp_path / "metrics.csv", verbose=True))
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert len(lines) == 1
    assert lines[0].startswith("epoch 1/3  train/loss ")
    assert "val/auroc" in lines[0]
    assert re.search(r" s  \d+ s left$", lines[0])
    caplog.clear()
    fit(made(), tmp_path, 1, EpochTable(tmp_path / "metrics.csv", verbose=False))
    assert not [line for line in caplog.messages if line.startswith("epoch ")]
