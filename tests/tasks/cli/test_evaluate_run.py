"""The metrics of a run come from its files alone: ``task.json`` and the tables, without a model and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.metric_values import read_metrics
from tasks.running.evaluate_run import evaluate_run
from tests.tasks.cli.conftest import Run

FIT = (
    "fit", "--data.num_patients", "16", "--data.image_size", "32", "--data.num_workers", "0", "--data.batch_size", "8",
    "--data.augment", "none", "--model.backbone", "test_resnet", "--trainer.accelerator", "cpu",
    "--trainer.precision", "32-true", "--trainer.max_epochs", "1", "--run_dir", "run",
)  # fmt: skip
OWN: dict[str, list[str]] = {
    "classify": [],
    "segment": ["--model.cleanup", "auto", "--model.count_lesions", "true", "--model.nsd_tolerance", "2"],
    "detect": ["--model.channels", "32", "--model.froc_iou", "0.2", "--model.score_threshold", "0.01"],
}
SAID: dict[str, dict[str, Any]] = {
    "classify": {"target": "binary", "positive_class": "malignant"},
    "segment": {"nsd_tolerance": 2.0, "count_lesions": True, "overlapping": False},
    "detect": {"froc_iou": 0.2, "score_threshold": 0.01, "max_detections": 100},
}


def metrics_of(file: Path) -> dict[str, Any]:
    return {
        name: entry
        for name, entry in json.loads(file.read_text(encoding="utf-8")).items()
        if name.split("/")[0] in ("val", "test")
    }


@pytest.mark.parametrize("task", OWN)
def test_metrics_are_made_again_from_files_alone(task: str, run_task: Run) -> None:
    status, _, err = run_task(task, *FIT, *OWN[task])
    assert status == 0, err
    folder = Path("run")
    said = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    assert said["task"] == task
    assert said | SAID[task] == said
    assert said["preprocess"]["size"] == [32, 32]

    before = metrics_of(folder / "metrics.json")
    others = {file: file.read_bytes() for pattern in ("confusion*", "froc*") for file in folder.glob(pattern)}
    for file in (folder / "metrics.json", *others):
        file.unlink()
    # In a process of its own, which has no torch.
    code = (
        "import sys; sys.modules['torch'] = None; from tasks.running.evaluate_run import evaluate_run; "
        "print([evaluate_run('run', split) is not None for split in ('val', 'test')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert metrics_of(folder / "metrics.json") == before
    assert len(before) > 20
    for file, content in others.items():
        assert file.read_bytes() == content

    # The tables of an evaluation say the same of the same part.
    status, _, err = run_task(task, "test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "again")
    assert status == 0, err
    assert json.loads(Path("again/task.json").read_text(encoding="utf-8")) == said
    tested = {name: entry for name, entry in before.items() if name.startswith("test/")}
    assert metrics_of(Path("again/metrics.json")) == tested

    metrics = evaluate_run("again", "test")
    assert metrics.keys() == {name.removeprefix("test/") for name in read_metrics(Path("again/metrics.json"))}
    with pytest.raises(SuiteError, match="no case of split 'val'"):
        evaluate_run("again", "val")


def test_what_a_run_does_not_say_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"task\.json: no such file, as in runs made before there was one") as caught:
        evaluate_run(tmp_path, "test")
    assert "\n" not in str(caught.value)
    file = tmp_path / "task.json"
    for text in ("", "[]", '{"task": "classify"}', '{"task": "classify", "class_names": ["a"], "operating_points": 3}'):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(SuiteError, match=r"task\.json: is damaged"):
            evaluate_run(tmp_path, "test")
    file.write_text('{"task": "detect", "class_names": ["a"], "operating_points": {}}', encoding="utf-8")
    with pytest.raises(SuiteError, match="has no max_detections"):
        evaluate_run(tmp_path, "test")
    file.write_text('{"task": "clasify", "class_names": ["a"], "operating_points": {}}', encoding="utf-8")
    with pytest.raises(SuiteError, match=r"did you mean .classify"):
        evaluate_run(tmp_path, "test")
