"""``sweep``: trials by a stand-in for the training, so that what the sweep itself does is seen; real ones are slow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pandas as pd
import pytest
import yaml

from scansuite import own_parts
from tasks.cli.command import command_line, environment
from tasks.cli.sweep import trials
from tasks.cli.sweep.study import FOLDER
from tasks.cli.sweep.trial_run import Ended
from tasks.cli.verbs import sweep as verb
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
        self.metric = "auroc"
        self.workers = 0
        self.fail: Callable[[int], str] = lambda number: ""

    def __call__(
        self,
        task: str,
        words: Sequence[str],
        folder: Path,
        metric: str,
        report: Callable[[int, float], bool],
        ending: Event,
        workers: int,
    ) -> Ended:
        self.words.append(list(words))
        self.workers = workers
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
        (folder / "metrics.json").write_text(json.dumps({f"val/{self.metric}": entry}))
        (folder / "split.csv").write_text("case_id,patient_id,split\na,1,train\nb,2,val\nc,3,test\n")
        return Ended(0, False, "")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    found = Trainings()
    monkeypatch.setattr(trials, "run_trial", found)
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


def test_choices_may_be_whole_numbers_fractions_and_null(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    rows = ["model.drop_path: [0, 0.1]", "model.mixup: [null, 0.2]", "data.augment_args.scale: [null, 0.1]"]
    space.write_text("\n".join([*rows, "model.weight_decay: [0, 0.05]", "data.batch_size: [8, 16]"]))
    status, out, err = run("sweep", "--space", space, "--trials", "6", "--run_dir", tmp_path / "s", *TINY)
    assert status == 0, err
    first = dict(zip(trainings.words[0], trainings.words[0][1:], strict=False))
    assert (first["--model.drop_path"], first["--model.mixup"], first["--data.batch_size"]) == ("0", "null", "16")
    table = pd.read_csv(tmp_path / "s/sweep.csv", dtype=str, keep_default_na=False)
    assert set(table["model.drop_path"]) <= {"0", "0.1"}
    assert set(table["model.weight_decay"]) <= {"0", "0.05"}
    assert "1: None, 2: 0.2" in (tmp_path / "s/sweep.html").read_text()
    assert "best.yaml" in out


def test_winner_and_first_trial_are_compared_by_folds_of_train_and_validation(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    status, out, err = run("sweep", "--space", space, "--trials", "7", "--run_dir", folder, *TINY)
    assert status == 0, err
    compared = [line for line in out.splitlines() if "--folds 5" in line]
    assert len(compared) == 2
    for line, name in zip(compared, ("base", "best"), strict=True):
        assert f"--config {folder}/{name}.yaml --run_dir {folder}/folds_{name} --folds 5 --judge_test false" in line


def test_without_a_test_part_the_folds_that_are_compared_are_evaluated_as_such(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    flags = ("--space", space, "--trials", "7", "--run_dir", tmp_path / "s", "--data.test_fraction", "0", *TINY)
    status, out, err = run("sweep", *flags)
    assert status == 0, err
    compared = [line for line in out.splitlines() if "--folds 5" in line]
    assert len(compared) == 2
    assert not any("judge_test" in line for line in compared)


def test_all_trials_share_what_was_planned_at_the_beginning(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    flags = ("sweep", "--space", space, "--run_dir", tmp_path / "s", *TINY[:-2])
    status, _, err = run(*flags, "--plan", "auto", "--trials", "1")
    assert status == 0, err
    base = yaml.safe_load((tmp_path / "s/base.yaml").read_text())
    planned = re.findall(r"plan: model\.(\w+) ([\d.e-]+): ", err)
    assert planned
    assert all(base["model"][name] == pytest.approx(float(value)) for name, value in planned)
    status, _, err = run(*flags, "--plan", "auto", "--trials", "2")
    assert status == 0, err
    assert "plan: " not in err
    assert len(trainings.words) == 2


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
            (tmp_path / "s/trial_0001/checkpoints").mkdir(parents=True)
            (tmp_path / "s/trial_0001/checkpoints/last.ckpt").touch()
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


def test_each_command_may_import_what_the_sweep_may(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(number: int) -> str:
        if number == 0:
            (tmp_path / "s/trial_0000/checkpoints").mkdir(parents=True)
            (tmp_path / "s/trial_0000/checkpoints/last.ckpt").touch()
            (tmp_path / "s/trial_0000/config.yaml").write_text("plan: none\n")
            raise KeyboardInterrupt
        return ""

    trainings.fail = killed
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

    monkeypatch.setattr(trials, "costs", costs)
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
        (("--folds", "3", "--data.test_fraction", "0"), "--folds 3 with --data.test_fraction 0: each fold would be"),
        (("--folds", "40"), "--folds 40"),
        (("--constraints", "speed<=2"), "--constraints speed<=2: such as latency_ms<=20"),
        (("--constraints", "seconds<=-2"), "--constraints seconds<=-2"),
        (("--space", "nowhere.yaml"), "--space nowhere.yaml: cannot be read"),
        (("--metric", "auorc"), "--metric auorc: no metric of validation: did you mean 'auroc'?"),
        (("--metric", "volume_difference"), "--metric volume_difference: neither more nor less of it is better"),
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no flag"),
        ("model.lrr: {low: 1, high: 2}", "model.lrr: no such flag: did you mean --model.lr?"),
        ("model.lr: {low: 2, high: 1}", "low 2 is not below high 1"),
        ("data.batch_size: {low: 1.5, high: 4}", "data.batch_size 1.5: "),
        ("model.lr: [0.1, fast]", 'model.lr "fast": '),
        ("data.augment: [light, lihgt]", "'lihgt' is no preset"),
        ("model.backbone: [resnet10t, resnet81]", 'model.backbone "resnet81": '),
    ],
)
def test_a_space_that_cannot_be_trained_is_one_line_and_leaves_nothing(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path, text: str, said: str
) -> None:
    space.write_text(text)
    status, _, err = run("sweep", "--space", space, "--run_dir", tmp_path / "s", *TINY)
    assert status == 2
    assert said in one_line(err)
    assert "space.yaml" in err
    assert not (tmp_path / "s").exists()
    assert trainings.words == []


FITTED = ("--model.freeze", "backbone", "--data.cache", "features", "--model.head", "kernel")


def test_a_space_that_changes_nothing_is_one_line_and_leaves_nothing(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    status, _, err = run("sweep", "--space", space, "--run_dir", tmp_path / "s", *TINY, *FITTED)
    assert status == 2
    assert "space.yaml: model.lr, data.augment: without effect on a head that is fitted" in one_line(err)
    assert not (tmp_path / "s").exists()
    assert trainings.words == []


def test_a_fitted_head_is_swept_over_what_it_follows(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    flags = ("--trials", "6", "--run_dir", tmp_path / "s", *TINY, *FITTED)
    status, _, err = run("sweep", *flags)
    assert status == 0, err
    assert {"--model.head", "--model.l2", "--data.image_size"} < set(trainings.words[0])
    assert not {"--model.lr", "--model.drop_path", "--data.augment"} & set(trainings.words[0])
    first = dict(zip(trainings.words[0], trainings.words[0][1:], strict=False))
    assert (first["--model.head"], first["--model.l2"], first["--data.image_size"]) == ("kernel", "null", "32")


def test_a_trial_with_the_settings_of_another_one_is_not_trained(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    space.write_text("data.augment: [light, none]\n")
    status, out, err = run("sweep", "--space", space, "--trials", "5", "--run_dir", tmp_path / "s", *TINY)
    assert status == 0, err
    assert len(trainings.words) <= 2
    assert "5 trials: 5 finished" in out
    assert "of what the trials differ by" not in out  # they do not
    table = pd.read_csv(tmp_path / "s/sweep.csv", keep_default_na=False)
    assert len(set(table.value[table["data.augment"] == "light"])) == 1


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


def test_several_workers_run_all_trials_and_end_together(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    flags = ("sweep", "--space", space, "--run_dir", tmp_path / "s", "--workers", "3", *TINY)
    assert run(*flags, "--trials", "6")[0] == 0
    table = pd.read_csv(tmp_path / "s/sweep.csv")
    assert sorted(table.trial) == list(range(6))
    assert len({words[words.index("--run_dir") + 1] for words in trainings.words}) == 6
    assert trainings.workers == 3

    def interrupted(number: int) -> str:
        raise KeyboardInterrupt

    trainings.fail = interrupted
    assert run(*flags, "--trials", "20")[0] == 130
    assert len(trainings.words) <= 9


def test_a_metric_that_trials_do_not_have_ends_it_with_those_they_have(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    flags = ("sweep", "--space", space, "--trials", "5", "--run_dir", tmp_path / "s", "--metric", "dice", *TINY)
    status, _, err = run(*flags)
    assert status == 2
    assert "--metric dice: no metric of these trials: " in err.splitlines()[-1]
    assert "auroc" in err.splitlines()[-1]
    assert len(trainings.words) == 1


def test_less_is_better_where_the_metric_says_so(run: Run, trainings: Trainings, space: Path, tmp_path: Path) -> None:
    trainings.metric = "brier"
    flags = ("sweep", "--space", space, "--trials", "6", "--run_dir", tmp_path / "s", "--metric", "brier", *TINY)
    assert run(*flags)[0] == 0
    table = pd.read_csv(tmp_path / "s/sweep.csv")
    best = table.sort_values("value").iloc[0]
    assert yaml.safe_load((tmp_path / "s/best.yaml").read_text())["model"]["lr"] == pytest.approx(best["model.lr"])


def test_the_page_has_history_settings_and_nothing_from_elsewhere(
    run: Run, trainings: Trainings, space: Path, tmp_path: Path
) -> None:
    flags = ("sweep", "--space", space, "--trials", "6", "--run_dir", tmp_path / "s", *TINY)
    _, out, _ = run(*flags)
    page = (tmp_path / "s/sweep.html").read_text()
    for title in ("Trials in their order", "model.lr", "data.augment", "Share of each setting"):
        assert title in page
    assert "AUROC on validation" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace('http-equiv="', "")
    assert "6 trials: " in page
    assert "sweep.html" in out


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


def test_a_trial_that_took_the_value_of_another_is_found_in_its_folder(tmp_path: Path) -> None:
    from optuna.trial import create_trial

    sweep = trials.Sweep("classify", tmp_path, {}, "auroc", 1, 1, None, [], [], 0, Event())
    found = create_trial(value=0.9, user_attrs={FOLDER: "trial_0006"})
    assert verb._folder_of(sweep, found) == tmp_path / "trial_0006"
