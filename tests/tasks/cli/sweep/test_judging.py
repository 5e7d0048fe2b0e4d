"""The winner of a sweep is evaluated on test once, where that is asked for, and when no trial runs any more."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import pytest

from tasks.cli.sweep import trials
from tasks.cli.sweep.study import FOLDER
from tasks.cli.verbs import sweep as verb
from tests.tasks.cli.conftest import Run
from tests.tasks.cli.sweep.conftest import TINY, Trainings


class Judged:
    """Stands for evaluations on test; notes what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.words = folder, list[list[str]]()
        self.fails = False

    def __call__(self, task: str, words: list[str]) -> None:
        self.words.append(words)
        assert not self.folder.exists()
        self.folder.mkdir()
        (self.folder / "config.yaml").touch()
        if self.fails:
            raise KeyboardInterrupt
        entry = {"value": 0.5, "low": None, "high": None, "n": 3}
        (self.folder / "metrics.json").write_text(json.dumps({"test/auroc": entry}))


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judged:
    found = Judged(tmp_path / "s/test")
    monkeypatch.setattr(verb, "run_command", found)
    return found


def test_test_is_evaluated_once_where_it_is_asked_for(
    run: Run, trainings: Trainings, judged: Judged, space: Path, tmp_path: Path
) -> None:
    flags = ("--space", space, "--run_dir", tmp_path / "s", *TINY)
    assert run("sweep", *flags, "--trials", "2")[0] == 0
    assert judged.words == []
    assert run("sweep", *flags, "--trials", "3", "--judge_test", "true")[0] == 0
    assert [words[0] for words in judged.words] == ["test"]
    _, _, err = run("sweep", *flags, "--trials", "4", "--judge_test", "true")
    assert len(judged.words) == 1
    number = int(judged.words[0][2].rpartition("_")[2])
    assert f"the test part was evaluated before, of trial {number}" in err
    assert "it is not looked at again" in err


def test_an_evaluation_of_test_that_was_broken_off_is_done_anew(
    run: Run, trainings: Trainings, judged: Judged, space: Path, tmp_path: Path
) -> None:
    flags = ("--space", space, "--trials", "1", "--run_dir", tmp_path / "s", "--judge_test", "true", *TINY)
    judged.fails = True
    assert run("sweep", *flags)[0] == 130
    assert not (tmp_path / "s/test/metrics.json").is_file()
    judged.fails = False
    status, _, err = run("sweep", *flags)
    assert status == 0, err
    assert len(judged.words) == 2
    assert (tmp_path / "s/test/metrics.json").is_file()


def test_test_is_left_to_the_process_whose_trial_ends_last(
    run: Run, trainings: Trainings, judged: Judged, space: Path, tmp_path: Path
) -> None:
    flags = ("--space", space, "--run_dir", tmp_path / "s", *TINY, "--judge_test", "true")
    inner: list[str] = []

    def while_it_runs(number: int) -> str:
        if number == 1:  # the second trial runs here, and the same command comes to its end beside it
            inner.append(run("sweep", *flags, "--trials", "2")[2])
            assert judged.words == []
        return ""

    trainings.fail = while_it_runs
    status, _, err = run("sweep", *flags, "--trials", "2")
    assert status == 0, err
    assert "trial 1 still runs in another process, and may be better" in inner[0]
    assert len(trainings.words) == 2
    assert len(judged.words) == 1


def test_a_trial_that_took_the_value_of_another_is_found_in_its_folder(tmp_path: Path) -> None:
    from optuna.trial import create_trial

    sweep = trials.Sweep("classify", tmp_path, {}, "auroc", 1, 1, None, [], [], 0, Event())
    found = create_trial(value=0.9, user_attrs={FOLDER: "trial_0006"})
    assert verb._folder_of(sweep, found) == tmp_path / "trial_0006"
