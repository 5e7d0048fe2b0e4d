"""``best.ckpt``: which weights are kept where metrics tie, are undefined or missing, and over a resume."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from tasks.fitting.callbacks import training_callbacks
from tasks.training.best_checkpoint import BestCheckpoint
from tasks.training.epoch_table import EpochTable
from tasks.training.stopping.resuming import Resuming
from tests.tasks.classify.batches import small_task
from tests.tasks.training.fits import LearnsNothing, loader

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

NAN = math.nan


class Scripted(LearnsNothing):
    """Its validation metrics are what the script says."""

    script: list[tuple[float, float]]  # AUROC and loss of each validation

    def on_validation_epoch_end(self) -> None:
        number = self.validated if not self.trainer.sanity_checking else 0
        score, loss = self.script[number]
        self.log_dict({"val/auroc": score, "val/loss": loss})
        self.validated = number + (not self.trainer.sanity_checking)

    validated = 0


def fit(
    folder: Path,
    scores: list[float],
    losses: list[float] | None = None,
    *,
    mode: Literal["min", "max"] = "max",
    resume: bool = False,
    flags: dict[str, Any] | None = None,
    **settings: Any,
) -> Scripted:
    """One validation for each score; ``best.ckpt``, ``last.ckpt`` and ``metrics.csv`` as ``fit`` makes them."""
    given = dict(small_task(input_size=(32, 32), **{"schedule": "constant", "warmup": 0, **(flags or {})}).hparams)
    model = Scripted(**given)
    model.script = list(zip(scores, losses or [0.5] * len(scores), strict=True))
    callbacks: list[Callback] = [
        Resuming(),
        *training_callbacks(model, 0),
        EpochTable(folder / "metrics.csv", verbose=False),
        BestCheckpoint(folder, "val/auroc", mode),
        ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks,
        **{"max_epochs": len(scores), **settings},
    )  # fmt: skip
    last = str(folder / "last.ckpt") if resume else None
    trainer.fit(model, loader(1), loader(2, batches=1), ckpt_path=last, weights_only=True)
    return model


def kept(folder: Path) -> int:
    """The epoch whose weights are the best."""
    return int(torch.load(folder / "best.ckpt", weights_only=True)["epoch"])


@pytest.mark.parametrize(
    ("scores", "losses", "mode", "best"),
    [
        ([0.6, 0.9, 0.9, 0.8], [0.5, 0.4, 0.3, 0.1], "max", 2),
        ([0.6, 0.9, 0.9, 0.9], [0.5, 0.3, 0.4, 0.3], "max", 1),
        ([0.5, 0.5, 0.4], [0.2, 0.1, 0.05], "min", 2),
        ([0.5, 0.5, 0.5], [0.2, 0.1, 0.1], "min", 1),
        ([0.9, NAN, 0.9], [0.5, 0.1, 0.6], "max", 0),
        ([NAN, NAN, NAN], [0.5, 0.4, 0.6], "max", 1),
        ([NAN, 0.1, NAN], [0.5, 0.6, 0.1], "max", 1),
        ([NAN, 7.0, NAN], [0.5, 0.6, 0.1], "min", 1),
        ([0.5, 0.5, 0.5], [NAN, 0.4, NAN], "max", 1),
    ],
)
def test_a_tie_goes_to_the_lower_loss_and_then_to_the_earlier_epoch(
    scores: list[float], losses: list[float], mode: Literal["min", "max"], best: int, tmp_path: Path
) -> None:
    """The first of equal epochs was kept, however much lower the loss of a later one."""
    fit(tmp_path, scores, losses, mode=mode)
    assert kept(tmp_path) == best


@pytest.mark.parametrize("moved", [False, True])
def test_a_resumed_run_knows_the_best_score_and_its_loss(moved: bool, tmp_path: Path) -> None:
    """In a folder that had moved the first epoch after the resume replaced a better one."""
    folder = tmp_path / "run"
    fit(folder, [0.6, 0.9], [0.5, 0.3])
    if moved:
        folder = Path(shutil.move(folder, tmp_path / "elsewhere"))
    fit(folder, [0.9, 0.8], [0.4, 0.1], resume=True, max_epochs=4)
    assert kept(folder) == 1
    fit(folder, [0.9], [0.2], resume=True, max_epochs=5)
    assert kept(folder) == 4


def test_a_best_checkpoint_that_is_gone_is_not_missed_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path, [0.9])
    (tmp_path / "best.ckpt").unlink()
    fit(tmp_path, [0.7, 0.6], resume=True, max_epochs=3)
    assert "best.ckpt is gone" in caplog.text
    assert kept(tmp_path) == 1


def test_epochs_without_validation_have_no_figures_and_change_nothing(tmp_path: Path) -> None:
    """Early stopping ended in a traceback, the table repeated the last metrics, a plateau schedule stopped the run."""
    flags = {"early_stopping": 2, "schedule": "plateau", "schedule_args": {"patience": 0, "factor": 0.5}}
    model = fit(tmp_path, [0.9, 0.8, 0.7, 0.6], flags=flags, check_val_every_n_epoch=2, max_epochs=20)
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table["val/auroc"].isna().tolist() == [True, False] * 3
    # Two without a better one, and over.
    assert table["val/auroc"].dropna().tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert model.validated == 3
    assert kept(tmp_path) == 1
    rates = table["lr"] / table["lr"].iloc[0]
    assert rates.tolist() == pytest.approx([1, 1, 1, 0.5, 0.5, 0.25])


def test_a_run_that_early_stopping_has_ended_stays_ended(tmp_path: Path) -> None:
    """Cut off while it was evaluated, it trained one more epoch."""
    flags = {"early_stopping": 1}
    assert fit(tmp_path, [0.9, 0.8, 1.0], flags=flags).validated == 2
    assert fit(tmp_path, [1.0], flags=flags, resume=True, max_epochs=3).validated == 0
    assert kept(tmp_path) == 0
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 2


def test_the_weights_kept_are_those_that_were_validated(tmp_path: Path) -> None:
    """With several validations an epoch the file held the weights of its end."""
    # Three batches an epoch: validated after the second, not at the end.
    fit(tmp_path, [0.9, 0.5, 0.8], val_check_interval=2)
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert (saved["epoch"], saved["global_step"]) == (0, 2)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 9


def test_state_of_an_earlier_version_keeps_the_earlier_of_equal_epochs(tmp_path: Path) -> None:
    fit(tmp_path, [0.9], [0.5])
    path = tmp_path / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    keys = [key for key in saved["callbacks"] if key.startswith("ModelCheckpoint") and "val/auroc" in key]
    del saved["callbacks"][keys[0]]["best_loss"]
    torch.save(saved, path)
    fit(tmp_path, [0.9], [0.1], resume=True, max_epochs=2)
    assert kept(tmp_path) == 0
