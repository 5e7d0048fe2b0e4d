"""``sweep``: trials by a stand-in for the training, so that what the sweep itself does is seen; real ones are slow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tasks.cli.command import command_line, environment
from tasks.cli.sweep.trial_run import Ended
from tasks.cli.verbs import sweep
from tests.tasks.cli.conftest import Run, one_line

TINY = (
    *("--data", "Phantoms", "--data.num_patients", "16", "--data.image_size", "32", "--data.num_workers", "0"),
    *("--trainer.max_epochs", "2", "--model.backbone", "resnet10t", "--plan", "none"),
)
SPACE = "model.lr: {low: 1e-4, high: 1e-2, log: true}\ndata.augment: [light, none]\n"


class Trainings:
    """Stands for trainings: the value of a trial is a function of its learning rate, best at 0.003."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []
        self.fail: Callable[[int], str] = lambda number: ""

    def __call__(
        self, task: str, words: Sequence[str], folder: Path, metric: str, report: Callable[[int, float], bool]
    ) -> Ended:
        self.words.append(list(words))
        error = self.fail(len(self.words) - 1)
        if error:
            return Ended(2, False, error)
        folder.mkdir(exist_ok=True)
        rate = float(words[words.index("--model.lr") + 1]) if "--model.lr" in words else 0.003
        value = 1 - abs(rate - 0.003) * 50
        for epoch in range(5):
            if report(epoch, value):
                return Ended(75, True, "")
        entry = {"value": value, "low": None, "high": None, "n": 3}
        (folder / "metrics.json").write_text(json.dumps({"val/auroc": entry}))
        return Ended(0, False, "")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    found = Trainings()
    monkeypatch.setattr(sweep, "run_trial", found)
    return found


@pytest.fixture
def space(tmp_path: Path) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return file


def test_the_first_trial_is_what_fit_would_take_and_the_best_is_a_config(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    status, out, err = run("sweep", "--space", space, "--trials", "7", "--run_dir", tmp_path / "s", *TINY)
    assert status == 0, err
    first = trainings.words[0]
    assert first[first.index("--model.lr") + 1] == "0.001"
    table = pd.read_csv(tmp_path / "s/sweep.csv")
    assert len(table) == 7
    assert set(table.state) <= {"finished", "stopped"}
    best = table.sort_values("value").iloc[-1]
    config = yaml.safe_load((tmp_path / "s/best.yaml").read_text())
    assert config["model"]["lr"] == pytest.approx(best["model.lr"])
    assert config["data"]["init_args"]["augment"] == best["data.augment"]
    assert config["plan"] == "none"
    assert f"trial {int(best.trial)}: val/auroc" in out
    assert "best.yaml" in out


def test_no_trial_sees_test(run: Run, trainings: Trainings, space: Path, tmp_path: Path) -> None:
    assert run("sweep", "--space", space, "--trials", "2", "--run_dir", tmp_path / "s", *TINY)[0] == 0
    for words in trainings.words:
        assert words[words.index("--judge_test") + 1] == "false"


def test_a_sweep_goes_on_where_it_was(run: Run, trainings: Trainings, space: Path, tmp_path: Path) -> None:
    flags = ("--space", space, "--run_dir", tmp_path / "s", *TINY)
    assert run("sweep", "--trials", "2", *flags)[0] == 0
    assert run("sweep", "--trials", "2", *flags)[0] == 0
    assert len(trainings.words) == 2
    assert run("sweep", "--trials", "5", *flags)[0] == 0
    assert len(trainings.words) == 5
    rates = {words[words.index("--model.lr") + 1] for words in trainings.words}
    assert len(rates) == 5  # none is drawn again
    space.write_text(SPACE.replace("1e-2", "1e-1"))
    status, _, err = run("sweep", "--trials", "6", *flags)
    assert status == 2
    assert "its sweep has another space" in one_line(err)


def test_a_trial_that_was_left_behind_goes_on(run: Run, trainings: Trainings, space: Path, tmp_path: Path) -> None:
    def killed(number: int) -> str:
        if number == 1:
            (tmp_path / "s/trial_0001").mkdir()
            (tmp_path / "s/trial_0001/config.yaml").write_text("plan: none\n")
            raise KeyboardInterrupt
        return ""

    trainings.fail = killed
    flags = ("--space", space, "--trials", "3", "--run_dir", tmp_path / "s", *TINY)
    assert run("sweep", *flags)[0] == 130
    trainings.fail = lambda number: ""
    status, _, err = run("sweep", *flags)
    assert status == 0
    assert "trial 1 was left behind: it goes on" in err
    again = trainings.words[2]
    assert again[again.index("--run_dir") + 1].endswith("trial_0001")
    assert again[again.index("--ckpt_path") + 1] == "last"
    assert list(pd.read_csv(tmp_path / "s/sweep.csv").state) == ["finished"] * 3


def test_a_trial_that_fails_is_counted_and_passed_over(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    trainings.fail = lambda number: "out of memory" if number == 1 else ""
    status, out, err = run("sweep", "--space", space, "--trials", "4", "--run_dir", tmp_path / "s", *TINY)
    assert status == 0
    assert "trial 1 failed: out of memory" in err
    assert "1 failed" in out


def test_where_the_first_all_fail_it_ends(run: Run, trainings: Trainings, space: Path, tmp_path: Path) -> None:
    trainings.fail = lambda number: "no such thing"
    status, _, err = run("sweep", "--space", space, "--trials", "9", "--run_dir", tmp_path / "s", *TINY)
    assert status == 2
    assert "the first 3 trials have all failed: no such thing" in err.splitlines()[-1]
    assert len(trainings.words) == 3


def test_trials_beyond_a_limit_do_not_win(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def costs(checkpoint: Path, task: str, seconds: float) -> dict[str, float]:
        number = int(checkpoint.parts[-3].removeprefix("trial_"))
        return {"latency_ms": 5.0 if number % 2 else 50.0, "parameters": 1e6, "size_mib": 4.0, "seconds": 1.0}

    monkeypatch.setattr(sweep, "costs", costs)
    flags = ("--space", space, "--trials", "5", "--run_dir", tmp_path / "s", *TINY)
    status, out, err = run("sweep", *flags, "--constraints", "latency_ms<=20")
    assert status == 0, err
    table = pd.read_csv(tmp_path / "s/sweep.csv")
    assert list(table.breaks.notna()[table.state == "finished"]) == [
        number % 2 == 0 for number in table.trial[table.state == "finished"]
    ]
    winner = int(out.split("  trial ")[1].split(":")[0])
    assert winner % 2 == 1
    assert "beyond the constraints" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--trials", "0"), "--trials 0: must be at least 1"),
        (("--workers", "0"), "--workers 0: must be at least 1"),
        (("--folds", "1"), "--folds 1: must be at least 2"),
        (("--constraints", "speed<=2"), "--constraints speed<=2: such as latency_ms<=20"),
        (("--constraints", "seconds<=-2"), "--constraints seconds<=-2"),
        (("--space", "nowhere.yaml"), "--space nowhere.yaml: cannot be read"),
        (("--model.backbon", "resnet18"), "unknown flag --model.backbon"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    run: Run, trainings: Trainings, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    status, _, err = run("sweep", "--run_dir", tmp_path / "s", *TINY, *flags)
    assert status == 2
    assert said in one_line(err)
    assert not (tmp_path / "s").exists()
    assert trainings.words == []


def test_a_folder_of_something_else_is_refused(run: Run, trainings: Trainings, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/mine.txt").write_text("x")
    status, _, err = run("sweep", "--run_dir", tmp_path / "s", *TINY)
    assert status == 2
    assert "exists and is no sweep" in one_line(err)


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_never_sees_test(tmp_path: Path, space: Path) -> None:
    words = ["sweep", "--space", str(space), "--trials", "3", "--run_dir", str(tmp_path / "s"), *TINY]
    first = subprocess.Popen(command_line("classify", words), env=environment(), cwd=tmp_path)
    while not (tmp_path / "s/trial_0001/checkpoints/last.ckpt").is_file():
        assert first.poll() is None
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run(command_line("classify", words), env=environment(), cwd=tmp_path, check=True)
    assert done.returncode == 0
    table = pd.read_csv(tmp_path / "s/sweep.csv")
    assert len(table) == 3
    assert not (table.state == "running").any()
    for folder in sorted((tmp_path / "s").glob("trial_????")):
        if (folder / "metrics.json").is_file():
            names: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
            assert not any(name.startswith("test/") for name in names)
            assert set(pd.read_csv(folder / "predictions.csv").split) == {"val"}
    assert not (tmp_path / "s/index.csv").exists()
