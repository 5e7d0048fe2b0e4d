from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, WandbLogger

from tasks.training import learning_curves
from tasks.training.learning_curves import LearningCurves
from tasks.training.logged_pictures import log_pictures


@pytest.mark.parametrize(("epoch_seconds", "first", "most"), [(0.5, 200, 3), (30, 4, 4), (1000, 1, 10)])
def test_curves_are_drawn_where_drawing_is_cheap(
    epoch_seconds: float, first: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, epoch, drawings = [0.0], [0], []

    def draw(run_dir: Path, monitor: tuple[str, str], class_names: list[str]) -> None:
        assert (run_dir, monitor, class_names) == (tmp_path, ("dice", "max"), ["a"])
        drawings.append(epoch[0])
        clock[0] += 0.8

    monkeypatch.setattr(learning_curves, "draw_training", draw)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    callback, model = LearningCurves(tmp_path), SimpleNamespace(monitor=("dice", "max"), class_names=["a"])
    trainer: Any = SimpleNamespace(is_global_zero=True)
    callback.on_train_start(trainer, model)  # type: ignore[arg-type]
    start = clock[0]
    for number in range(1, 411 if epoch_seconds < 1 else 11):
        clock[0], epoch[0] = clock[0] + epoch_seconds, number
        callback.on_train_epoch_end(trainer, model)  # type: ignore[arg-type]
    assert 0.8 * len(drawings) <= 0.011 * (clock[0] - start)
    assert drawings[0] == first
    assert 1 < len(drawings) <= most
    clock[0] += 1e6
    count = len(drawings)
    callback.on_train_epoch_end(SimpleNamespace(is_global_zero=False), model)  # type: ignore[arg-type]
    assert len(drawings) == count  # rank 0 draws


def test_each_logger_gets_pictures_in_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages: what is called of Lightning's loggers, whose signatures these are."""
    picture, taken = np.zeros((4, 5, 3), np.uint8), []
    wandb, mlflow = object.__new__(WandbLogger), object.__new__(MLFlowLogger)
    monkeypatch.setattr(WandbLogger, "log_image", lambda _, key, images: taken.append(("wandb", key, len(images))))
    client = SimpleNamespace(log_image=lambda run, image, artifact_file: taken.append(("mlflow", run, artifact_file)))
    monkeypatch.setattr(MLFlowLogger, "experiment", client)
    monkeypatch.setattr(MLFlowLogger, "run_id", "r1")
    log_pictures([wandb, CSVLogger(tmp_path), mlflow], {"roc_test": picture})
    assert taken == [("wandb", "roc_test", 1), ("mlflow", "r1", "pictures/roc_test.png")]


def test_a_logger_that_fails_costs_a_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no\nnetwork")

    monkeypatch.setattr(WandbLogger, "log_image", fails)
    log_pictures([object.__new__(WandbLogger)], {"roc_test": np.zeros((4, 5, 3), np.uint8)})
    assert [record.getMessage() for record in caplog.records] == [
        "WandbLogger: pictures are not shown there: no network"
    ]


def test_curves_of_a_real_table(tmp_path: Path) -> None:
    pd.DataFrame({"epoch": [0, 1], "train/loss": [1.0, 0.5], "lr": 0.1}).to_csv(tmp_path / "metrics.csv", index=False)
    callback = LearningCurves(tmp_path)
    callback._last -= 1e6
    model = SimpleNamespace(monitor=("auroc", "max"), class_names=["a"])
    callback.on_train_epoch_end(SimpleNamespace(is_global_zero=True), model)  # type: ignore[arg-type]
    assert (tmp_path / "learning_curves.png").stat().st_size > 1000
