from __future__ import annotations

from pathlib import Path

import pandas as pd

from tasks.evaluation.evaluated import read_evaluated
from tasks.evaluation.report.content import LinePlot, Subject, Table
from tasks.evaluation.report.sections.training import section
from tasks.planning.draft import Planned
from tasks.planning.plan import Plan
from tests.tasks.evaluation.run_folders import write_binary_run


def test_curves_and_the_best_epoch(tmp_path: Path) -> None:
    folder = write_binary_run(tmp_path / "run", patients=10)
    epochs = pd.DataFrame(
        {"epoch": [0, 1, 2], "train/loss": [0.9, 0.5, 0.3], "val/loss": [0.8, None, 0.6], "val/auroc": [0.6, None, 0.9]}
    )
    epochs.assign(seconds=60.0).to_csv(folder / "metrics.csv", index=False)
    (folder / "config.yaml").write_text("model: {backbone: resnet18, lr: 0.001, weights: /a/b/c.ckpt, ema: null}\n")
    found = section(Subject(read_evaluated(folder), "test"))
    assert found is not None
    assert found.lines[0] == (
        "Trained for 3 epochs in 3 min; the best epoch by AUROC on validation (0.900) was number 3."
    )
    plots = {plot.name: plot for plot in found.parts if isinstance(plot, LinePlot)}
    assert [(line.name, len(line.x)) for line in plots["loss"].lines] == [("training", 3), ("validation", 2)]
    assert list(plots["auroc"].lines[0].x) == [1, 3]
    settings = {row[0]: row[1] for part in found.parts if isinstance(part, Table) for row in part.rows}
    assert settings == {"backbone": "resnet18", "lr": "0.001", "weights": "c.ckpt"}


def test_a_monitor_of_the_users_is_not_taken_for_the_tasks_own(tmp_path: Path) -> None:
    folder = write_binary_run(tmp_path / "run", patients=10)
    epochs = pd.DataFrame({"epoch": [0, 1], "val/auroc": [0.6, 0.9], "val/own_error": [0.1, 0.4]})
    epochs.to_csv(folder / "metrics.csv", index=False)
    (folder / "config.yaml").write_text("model: {monitor: own_error}\n")
    found = section(Subject(read_evaluated(folder), "test"))
    assert found is not None
    assert found.lines[0] == "Trained for 2 epochs; the checkpoint was chosen by own error on validation."
    assert [plot.name for plot in found.parts if isinstance(plot, LinePlot)] == ["own_error"]


def test_a_folder_that_trained_nothing_has_no_section(tmp_path: Path) -> None:
    assert section(Subject(read_evaluated(write_binary_run(tmp_path / "run", patients=10)), "test")) is None


def test_planned_settings_have_their_reasons(tmp_path: Path) -> None:
    folder = write_binary_run(tmp_path / "run", patients=10)
    pd.DataFrame({"epoch": [0], "val/loss": [0.8]}).to_csv(folder / "metrics.csv", index=False)
    planned = (Planned("model.lr", 0.001, "small", "data"), Planned("model.weights", None, "none here", "machine"))
    (folder / "plan.json").write_text(Plan("some.Data", planned).to_json())
    found = section(Subject(read_evaluated(folder), "test"))
    assert found is not None
    (table,) = (part for part in found.parts if isinstance(part, Table) and part.name == "plan")
    assert [tuple(row) for row in table.rows] == [
        ("model.lr", "0.001", "small", "data"),
        ("model.weights", "none", "none here", "machine"),
    ]
    (folder / "plan.json").write_text("[")  # damaged: the report is there all the same
    found = section(Subject(read_evaluated(folder), "test"))
    assert found is not None
    assert [part.name for part in found.parts if isinstance(part, Table)] == []
