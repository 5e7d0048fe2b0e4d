from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tasks.training.logged_report import log_report

METRICS = {"test/auroc": 0.75, "test/f1@op": 0.5, "test/npv": float("nan")}


def test_tensorboard_and_csv_get_the_final_metrics(tmp_path: Path) -> None:
    board, table = (
        TensorBoardLogger(str(tmp_path), name="", version="b"),
        CSVLogger(str(tmp_path), name="", version="c"),
    )
    log_report([board, table], METRICS, tmp_path / "report.html")
    events = EventAccumulator(str(tmp_path / "b"))
    events.Reload()
    assert events.Tags()["scalars"] == ["final/test/auroc", "final/test/f1@op"]
    assert events.Scalars("final/test/auroc")[0].value == 0.75
    assert pd.read_csv(tmp_path / "c" / "metrics.csv")["final/test/auroc"].tolist() == [0.75]


def test_others_get_the_report_as_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []
    summary = SimpleNamespace(update=lambda metrics: taken.append(sorted(metrics)))
    run = SimpleNamespace(summary=summary, save=lambda file, base_path, policy: taken.append((file, base_path, policy)))
    client = SimpleNamespace(
        log_metric=lambda run, name, value: taken.append((run, name, value)),
        log_artifact=lambda run, file: taken.append((run, file)),
    )
    wandb, mlflow = object.__new__(WandbLogger), object.__new__(MLFlowLogger)
    monkeypatch.setattr(WandbLogger, "experiment", run)
    monkeypatch.setattr(MLFlowLogger, "experiment", client)
    monkeypatch.setattr(MLFlowLogger, "run_id", "r1")
    page = tmp_path / "report.html"
    log_report([wandb, mlflow], METRICS, page)
    assert taken == [
        ["final/test/auroc", "final/test/f1@op"],
        (str(page), str(tmp_path), "now"),
        ("r1", "final/test/auroc", 0.75),
        ("r1", "final/test/f1_at_op", 0.5),
        ("r1", str(page)),
    ]


def test_a_logger_that_fails_costs_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(CSVLogger, "log_metrics", lambda *_: 1 / 0)
    log_report([CSVLogger(str(tmp_path))], METRICS, None)
    assert "CSVLogger: final metrics and report are not there" in caplog.text
