"""Every precision of Lightning's trains each task, and what is evaluated is evaluated in float32."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.tasks.cli.conftest import Run, one_line

SMALL = [
    "--data.num_patients", "16", "--data.image_size", "64", "--data.num_workers", "0", "--data.batch_size", "8",
    "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--model.backbone", "test_resnet", "--run_dir", "run",
]  # fmt: skip
OF_TASK: dict[str, list[str]] = {
    "classify": [],
    "segment": ["--model.decoder_args.decoder_channels", "[16, 16, 8, 8, 8]"],
    "detect": ["--model.channels", "16"],
}
PRECISIONS = ("16-mixed", "bf16-mixed", "16-true", "bf16-true", "32-true", "64-true")
SLOW = [
    (task, precision) for task in OF_TASK for precision in PRECISIONS if (task, precision) != ("detect", "bf16-true")
]


def values(file: str) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in json.loads(Path(file).read_text()).items() if "/" in name}


def check(run_task: Run, task: str, precision: str) -> None:
    """Train; ``test`` of the checkpoint, which computes in float32, finds what ``fit`` has found at its end."""
    words = ["fit", *SMALL, *OF_TASK[task], "--trainer.precision", precision]
    if precision == "16-true":
        words += ["--model.optimizer_args.eps", "0.001", "--model.lr", "0.0001"]
    status, _, err = run_task(task, *words)
    assert status == 0, err
    # A CPU has no 16-mixed: Lightning takes bf16-mixed in its place.
    assert f"precision {'bf16-mixed' if precision == '16-mixed' else precision}" in err
    assert pd.read_csv("run/metrics.csv")["train/loss"].notna().all()
    status, _, err = run_task(
        task, "test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "again", "--trainer.accelerator", "cpu"
    )
    assert status == 0, err
    found, expected = values("run/metrics.json"), values("again/metrics.json")
    for name, value in expected.items():
        if name.startswith("test/") and value is not None:
            assert found[name] == pytest.approx(value, abs=1e-5, nan_ok=True), name


def test_boxes_are_learnt_with_weights_in_bf16(run_task: Run) -> None:
    check(run_task, "detect", "bf16-true")


@pytest.mark.slow
@pytest.mark.parametrize(("task", "precision"), SLOW)
def test_every_precision_trains_and_is_evaluated_in_float32(task: str, precision: str, run_task: Run) -> None:
    check(run_task, task, precision)


@pytest.mark.skipif(find_spec("transformer_engine") is not None, reason="transformer_engine is installed")
def test_transformer_engine_is_refused_by_name_where_it_is_absent(run_task: Run) -> None:
    status, _, err = run_task("classify", "fit", *SMALL, "--trainer.precision", "transformer-engine")
    assert status == 2
    assert "transformer-engine" in one_line(err).replace("TransformerEngine", "transformer-engine")


def test_an_optimiser_that_would_divide_by_nothing_is_refused(run_task: Run) -> None:
    status, _, err = run_task("classify", "fit", *SMALL, "--trainer.precision", "16-true")
    assert status == 2
    assert "--trainer.precision 16-true: the optimiser's eps 1e-08 is 0 in half precision" in one_line(err)
