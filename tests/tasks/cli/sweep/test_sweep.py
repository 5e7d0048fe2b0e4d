"""Trials of a sweep: what they are trained with, which is the best, and what is said of them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tasks.cli.sweep import trials
from tests.tasks.cli.conftest import Run, one_line
from tests.tasks.cli.sweep.conftest import TINY, Trainings


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


def test_a_folder_of_something_else_is_refused(run: Run, trainings: Trainings, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/mine.txt").write_text("x")
    status, _, err = run("sweep", "--run_dir", tmp_path / "s", *TINY)
    assert status == 2
    assert "exists and is no sweep" in one_line(err)
