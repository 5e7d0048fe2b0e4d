from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.metric_values import MetricValue, read_metrics, write_metrics


def test_form_of_metrics_json(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    mean = MetricValue(math.nan, math.nan, math.nan, 12, classes=0)
    write_metrics(file, {"test/accuracy": MetricValue(0.5, 0.25, 0.75, 12), "test/auroc": mean})
    assert json.loads(file.read_text()) == {
        "test/accuracy": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 12},
        "test/auroc": {"value": None, "low": None, "high": None, "n": 12, "classes": 0},
    }
    back = read_metrics(file)
    assert back["test/accuracy"] == MetricValue(0.5, 0.25, 0.75, 12)
    assert math.isnan(back["test/auroc"].value)
    assert back["test/auroc"].classes == 0


def test_evaluating_again_replaces_the_stage_and_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    write_metrics(file, {"val/auroc": MetricValue(0.9, 0.8, 1.0, 5), "val/f1": MetricValue(0.1, 0.0, 0.2, 5)})
    write_metrics(file, {"test/auroc": MetricValue(0.7, 0.6, 0.8, 9)})
    entries = json.loads(file.read_text())
    file.write_text(json.dumps(entries | {"val/identical_images": ["train/115", "test/76"]}))
    write_metrics(file, {"val/auroc": MetricValue(0.95, 0.9, 1.0, 6)})
    assert set(read_metrics(file)) == {"val/auroc", "test/auroc"}
    assert read_metrics(file)["val/auroc"].n == 6
    assert json.loads(file.read_text())["val/identical_images"] == ["train/115", "test/76"]
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "metrics.json"
    file.write_text(text)
    with pytest.raises(SuiteError, match=r"metrics\.json"):
        write_metrics(file, {"val/auroc": MetricValue(0.9, 0.8, 1.0, 5)})
    assert file.read_text() == text
    with pytest.raises(SuiteError, match="no such file"):
        read_metrics(tmp_path / "other.json")
