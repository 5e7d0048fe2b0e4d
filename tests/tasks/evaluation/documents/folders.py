"""A run folder on disk, with what limits and documents read of it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.evaluation.evaluated import EvaluatedRun, read_evaluated
from tasks.evaluation.metric_values import MetricValue, write_metrics, write_note
from tasks.evaluation.tables import write_table
from tasks.evaluation.task_file import write_task
from tests.tasks.evaluation.drift.scanners import two_parts

DATA = {"root": "/home/doe/scans", "augment": "light", "check_files": True, "keep_ids": False, "split_seed": 3}


def run_folder(
    folder: Path, notes: dict[str, tuple[int, int]] | None = None, looks: int = 0, data: dict[str, Any] | None = None
) -> EvaluatedRun:
    """A trained run with 20 training cases.

    Args:
        folder: made.
        notes: value and n of entries of ``metrics.json``.
        looks: evaluations of test in ``index.csv``.
        data: flags of the data.
    """
    folder.mkdir(parents=True)
    run = two_parts(0, (12, 30), scans=2)
    prepared = {"preprocess": {"size": [64, 64], "channels": 1, "fit": "pad"}, "operating_point": "youden"}
    task = replace(run.task, own={**run.task.own, **prepared})
    write_task(folder, task)
    write_table(run.cases, folder / "cases.csv")
    write_table(run.predictions, folder / "predictions.csv")
    train = pd.DataFrame({"case_id": [f"t{i}" for i in range(20)], "patient_id": [f"t{i // 2}" for i in range(20)]})
    split = pd.concat([train.assign(split="train"), run.cases[["case_id", "patient_id", "split"]]])
    write_table(split, folder / "split.csv")
    nan = float("nan")
    found = {name: MetricValue(value, nan, nan, n) for name, (value, n) in (notes or {}).items()}
    write_metrics(folder / "metrics.json", found)
    write_note(folder / "metrics.json", "split/other", True)
    (folder / "metrics.csv").write_text("epoch,train/loss,val/loss\n0,1.0,1.1\n1,0.8,1.0\n")
    settings = {
        "seed_everything": 7,
        "model": {"backbone": "resnet10t", "optimizer": "adamw", "lr": 0.001, "class_weights": None, "loss": "auto"},
        "data": {"class_path": "datamodules.x.ImageTable", "init_args": {**DATA, **(data or {})}},
        "trainer": {"max_epochs": 2},
    }
    (folder / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML
    if looks:
        with (folder.parent / "index.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["time", "task", "run_dir", "checkpoint", "cases"])
            writer.writerow(["1", "classify", folder, "best.ckpt", 60])
            for look in range(looks - 1):
                writer.writerow(["2", "classify", folder.parent / f"t{look}", folder / "checkpoints" / "best.ckpt", 60])
            writer.writerow(["3", "classify", folder.parent / "else", "/elsewhere/checkpoints/best.ckpt", 60])
    return read_evaluated(folder)
