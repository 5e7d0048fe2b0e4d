"""What a time is, whose it is, and that a training keeps it."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from scansuite.errors import SuiteError
from tasks.cli.parser import TaskParser
from tasks.cli.planning.timed import asked_seconds, on_time, started, uses_all
from tasks.cli.planning.trial import _Clock, trial_of
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.planning.settle.frozen import QUICK
from tasks.training.on_time import OnTime

ROOT = Path(__file__).resolve().parents[4]
SMALL = ["--data.num_patients", "24", "--data.image_size", "32", "--data.num_workers", "0", "--data.batch_size", "4"]


def test_the_process_was_started_before_its_first_line() -> None:
    assert started() <= time.monotonic()
    code = "import time; a = time.monotonic(); import tasks.cli.planning.timed as t; print(a - t.started())"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0 <= float(run.stdout) < 60  # the interpreter's own start is counted, imports are not


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"time": "10m", "quality": "good"}, 600.0),
        ({"time": None, "quality": "quick"}, 120.0),
        ({"time": "30s", "quality": "quick"}, 30.0),
        ({"time": None, "quality": "best"}, None),
    ],
)
def test_a_time_or_a_quick_look_limits_the_command(config: dict[str, Any], seconds: float | None) -> None:
    assert asked_seconds(config) == seconds


def test_a_time_is_used_to_its_end_unless_another_length_is_given(tmp_path: Path) -> None:
    assert uses_all(["--time", "10m", "--model.lr", "0.1"])
    assert not uses_all(["--quality", "quick"])
    assert not uses_all(["--time", "10m", "--trainer.max_epochs", "20"])
    file = tmp_path / "plan.yaml"
    file.write_text("trainer:\n  max_epochs: 3\n")
    assert not uses_all(["--time", "10m", "--config", str(file)])


def test_a_run_that_goes_on_uses_its_time_as_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that starts anew hears of the time again, and knows the length that was typed from its checkpoint."""
    monkeypatch.setattr("tasks.cli.planning.timed.evaluated_patches", lambda *_: 1.0)
    config = {"time": "10m", "quality": "good", "trainer": {"fast_dev_run": False}, "model": {}}
    data: Any = SimpleNamespace(rows=lambda part: [0, 1])
    saved = {"seconds": 300.0, "stretches": False, "validating": None}
    checkpoint = {"callbacks": {OnTime.__qualname__: saved}}
    (new,) = on_time(config, ["--time", "10m"], data, None, testing=True)
    (again,) = on_time(config, ["--time", "10m"], data, checkpoint, testing=True)
    assert (new.seconds, new.stretches, again.seconds, again.stretches) == (600.0, True, 600.0, False)
    (silent,) = on_time({**config, "time": None}, [], data, checkpoint, testing=True)
    assert (silent.seconds, silent.stretches) == (300.0, False)


def test_a_trial_leaves_no_trace_in_random_numbers() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.rand(1), np.random.rand()
    data = str(
        TaskParser("classify", "fit", SMALL, own_flags=OWN_FLAGS, builds_model=False).config["data"]["class_path"]
    )
    torch.manual_seed(5)
    np.random.seed(5)
    timing = trial_of("classify", SMALL, OWN_FLAGS, data, 1e6)({"model.backbone": "resnet10t", "model.ema": 0.9})
    assert timing.step > 0
    assert 0 < timing.sample < timing.step + 10
    assert timing.start > 0
    assert (torch.rand(1), np.random.rand()) == before


def test_a_trial_ends_however_long_the_training_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    noted = _Clock.on_train_batch_end

    def counted(*args: Any) -> None:
        nonlocal steps
        steps += 1
        noted(*args)

    monkeypatch.setattr("tasks.cli.planning.trial.STEPS", 1)
    monkeypatch.setattr(_Clock, "on_train_batch_end", counted)
    words = [*SMALL, "--data.batch_size", "2", "--trainer.min_epochs", "3", "--trainer.min_steps", "9"]
    trial_of("classify", words, OWN_FLAGS, "datamodules.phantoms.labels.Phantoms", 1e6)({"model.backbone": "resnet10t"})
    assert steps == 2  # the first one warms up


def test_a_time_that_is_nearly_over_is_refused_before_the_trial() -> None:
    with pytest.raises(SuiteError, match=r"--time 0.1s: \d+ s are over .* give at least --time \d+s"):
        trial_of("classify", SMALL, OWN_FLAGS, "Phantoms", 0.1)({})


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--plan", "auto"], ["--plan", "none"]])
def test_a_command_ends_on_time_with_its_schedule_finished(how: list[str], tmp_path: Path) -> None:
    began = time.monotonic()
    words = ["classify", "fit", "--time", f"{QUICK + 10:g}s", *how, *SMALL, "--run_dir", str(tmp_path / "run")]
    run = subprocess.run(
        [sys.executable, "-m", "tasks.cli", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    took = time.monotonic() - began
    assert run.returncode == 0, run.stderr[-2000:]
    assert took == pytest.approx(QUICK + 10, abs=18)  # of which what comes behind the training is a large part
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert float(rows[-1]["lr"]) < 1e-6
    assert "steps of the schedule over" in run.stderr + run.stdout
