"""A sweep that was ended goes on with what it began with, and does nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scansuite import own_parts
from tasks.cli.command import command_line, environment
from tasks.cli.verbs import sweep as verb
from tests.tasks.cli.conftest import Run, one_line
from tests.tasks.cli.sweep.conftest import SPACE, TINY, Trainings


def killed_with_a_checkpoint(folder: Path, trial: int) -> Callable[[int], str]:
    """What a trial of a sweep that is killed leaves behind once it has saved anything."""

    def killed(number: int) -> str:
        if number == trial:
            left = folder / f"trial_{trial:04d}"
            (left / "checkpoints").mkdir(parents=True)
            (left / "checkpoints/last.ckpt").touch()
            (left / "config.yaml").write_text("plan: none\n")
            raise KeyboardInterrupt
        return ""

    return killed


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
    trainings.fail = killed_with_a_checkpoint(tmp_path / "s", 1)
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


def test_a_time_is_of_each_trial_and_reaches_folds_that_have_not_begun(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    trainings.fail = killed_with_a_checkpoint(tmp_path / "s", 0)
    flags = ("--space", space, "--run_dir", tmp_path / "s", "--folds", "3", "--time", "10m", *TINY)
    assert run("sweep", *flags)[0] == 130

    def ended(number: int) -> str:
        raise KeyboardInterrupt

    trainings.fail = ended
    assert run("sweep", *flags)[0] == 130
    begun, resumed = trainings.words
    assert "last" in resumed
    assert [words[words.index("--time") + 1] for words in (begun, resumed)] == ["600s", "600s"]


def test_each_command_may_import_what_the_sweep_may(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings.fail = killed_with_a_checkpoint(tmp_path / "s", 0)
    monkeypatch.setattr(own_parts, "_allowed", set())
    monkeypatch.setattr(verb, "run_command", lambda task, words: trainings.words.append(words))
    flags = ("--space", space, "--trials", "1", "--run_dir", tmp_path / "s", "--judge_test", "true", *TINY)
    assert run("sweep", *flags, "--allow_import", "own_losses", "own_heads")[0] == 130
    assert run("sweep", *flags, "--allow_import", "own_losses", "own_heads")[0] == 0
    begun, resumed, judged = trainings.words
    assert "last" in resumed
    assert judged[0] == "test"
    for words in (begun, resumed, judged):
        place = words.index("--allow_import")
        assert set(words[place + 1 : place + 3]) == {"own_heads", "own_losses"}


def test_a_sweep_goes_on_with_the_flags_that_it_began_with(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    flags = ("sweep", "--space", space, "--run_dir", tmp_path / "s", *TINY)
    assert run(*flags, "--trials", "1")[0] == 0
    status, _, err = run(*flags, "--trials", "2", "--model.optimizer", "sgd")
    assert status == 2
    assert "--model.optimizer sgd: was adamw when this sweep began" in one_line(err)
    assert run(*flags[:-2], "--trials", "2")[0] == 0  # --plan none is what it began with
    assert len(trainings.words) == 2


def test_a_trial_that_was_done_when_its_sweep_was_killed_is_not_trained_again(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    def killed(number: int) -> str:
        if number == 1:
            (tmp_path / "s/trial_0001").mkdir()
            (tmp_path / "s/trial_0001/metrics.json").write_text((tmp_path / "s/trial_0000/metrics.json").read_text())
            (tmp_path / "s/trial_0001.seconds.txt").write_text("77.5\n")
            raise KeyboardInterrupt
        return ""

    trainings.fail = killed
    flags = ("sweep", "--space", space, "--trials", "2", "--run_dir", tmp_path / "s", *TINY)
    assert run(*flags)[0] == 130
    assert run(*flags)[0] == 0
    assert len(trainings.words) == 2
    table = pd.read_csv(tmp_path / "s/sweep.csv")
    assert list(table.state) == ["finished"] * 2
    assert table.seconds[1] == 77.5


def test_a_trial_that_ended_before_its_first_checkpoint_begins_anew(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    def killed(number: int) -> str:
        if number == 0:
            (tmp_path / "s/trial_0000/checkpoints").mkdir(parents=True)
            (tmp_path / "s/trial_0000/config.yaml").touch()
            raise KeyboardInterrupt
        return ""

    trainings.fail = killed
    flags = ("sweep", "--space", space, "--trials", "1", "--run_dir", tmp_path / "s", *TINY)
    assert run(*flags)[0] == 130
    assert run(*flags)[0] == 0
    assert "--ckpt_path" not in trainings.words[1]
    assert trainings.words[0] == trainings.words[1]


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
