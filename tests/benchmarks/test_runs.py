"""Tables of trainings: kept runs are taken, rows are means over seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import finetuning, runs, textbook
from benchmarks.runs import finished, over_seeds


def kept(folder: Path, auroc: float = 0.9) -> Path:
    """A run folder as ``fit`` leaves it, as far as tables need it."""
    (folder / "checkpoints").mkdir(parents=True)
    metric = {"value": auroc, "low": auroc - 0.05, "high": auroc + 0.05, "n": 156}
    names = ("auroc", "accuracy", "sensitivity", "f1")
    metrics = {f"test/{name}": metric for name in names} | {"val/auroc": {"value": 1 - auroc}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    pd.DataFrame({"seconds": [9.0, 1.25, 1.25]}).to_csv(folder / "metrics.csv", index=False)
    state = {"backbone.conv.weight": torch.zeros(8, 3, 3, 3), "backbone.bn.running_mean": torch.zeros(8)}
    torch.save({"state_dict": state | {"head.fc.bias": torch.zeros(2)}}, folder / "checkpoints" / "best.ckpt")
    return folder


def test_a_run_that_is_there_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "command_line", lambda *_: pytest.fail("trained"))
    run = finished("classify", kept(tmp_path / "run"), ["--trainer.max_epochs", "1"])
    assert tuple(run.metrics["auroc"]) == pytest.approx((0.9, 0.85, 0.95))
    assert "val/auroc" not in run.metrics
    assert run.seconds == 1.25


@pytest.mark.parametrize("begun", [True, False])
def test_a_broken_off_run_goes_on_or_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    if begun:
        (folder / "checkpoints" / "last.ckpt").touch()
    calls = []

    def fit(task: str, flags: list[str]) -> int:
        calls.append((task, flags, folder.exists()))
        return 1

    monkeypatch.setattr(runs, "command_line", fit)
    with pytest.raises(RuntimeError, match="exit status 1"):
        finished("detect", folder, ["--model.lr", "0.1"])
    given = ["--ckpt_path", "last"] if begun else ["--plan", "none", "--model.lr", "0.1"]
    assert calls == [("detect", ["fit", *given, "--run_dir", str(folder)], begun)]


def test_a_row_is_the_mean_over_seeds_with_the_interval_of_the_first(tmp_path: Path) -> None:
    two = [finished("classify", kept(tmp_path / str(auroc), auroc), []) for auroc in (0.9, 0.8)]
    assert over_seeds(two, "auroc") == "0.850 (0.850-0.950)"


def test_row_of_the_textbook_table(tmp_path: Path) -> None:
    two = [finished("classify", kept(tmp_path / str(auroc), auroc), []) for auroc in (0.9, 0.8)]
    line = textbook.rows({textbook.NETWORKS[0]: textbook.Result(two, 1.5)}).splitlines()[2]
    # 8 x 3 x 3 x 3 weights and 2 biases
    assert line.startswith("| small CNN (the course's) | `small_cnn` | 218 | 1.5 | 0.850 (0.850-0.950) |")


def test_row_of_the_table_of_ways(tmp_path: Path) -> None:
    two = [finished("classify", kept(tmp_path / str(auroc), auroc), []) for auroc in (0.9, 0.8)]
    assert finetuning.chosen_on(two[0]) == pytest.approx(0.1)
    line = finetuning.rows({"nih": {"scratch": ("0.001", two)}}).splitlines()[2]
    assert "| from scratch | 0.001 | 1.2 | 0.850 (0.850-0.950) | 0.100 |" in line
