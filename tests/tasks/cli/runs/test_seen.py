"""What is evaluated was not trained or chosen on: a run's own split stays, other data are compared with what was seen.

The two experiments of the audit stand first: images added to the folder, and another ``--data.test_fraction``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from backbones.weights import extract_weights
from datamodules.readers.dicom.identity import key
from scansuite.errors import SuiteError
from tasks.cli.folds import train as folds
from tasks.cli.main import main
from tests.tasks.cli.conftest import KINDS, TINY, Run, draw_table, one_line
from tests.tasks.cli.folds.test_folds import in_process

BEST = "checkpoints/best.ckpt"
DATA = ["--data", "ImageTable", *KINDS["binary"], "--data.num_workers", "0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a classifier as ``run``, and its data as ``data``."""
    folder = tmp_path_factory.mktemp("seen")
    draw_table(folder / "data", cases=72)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("SCANSUITE_RUN_DIR", raising=False)
        assert main("classify", ["fit", *DATA, "--data.root", "data", *TINY, "--run_dir", "run"]) == 0
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path) -> Path:
    """The same as this test's own, to be changed."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def split_of(run_dir: str | Path) -> dict[str, str]:
    frame = pd.read_csv(Path(run_dir) / "split.csv", dtype="str")
    return dict(zip(frame["case_id"], frame["split"], strict=True))


def evaluated(run_dir: str | Path) -> set[str]:
    return set(pd.read_csv(Path(run_dir) / "predictions.csv", dtype="str")["case_id"])


def cases_of(part: str, run_dir: str | Path = "run") -> list[str]:
    return [case for case, where in split_of(run_dir).items() if where == part]


def metrics(run_dir: str) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads((Path(run_dir) / "metrics.json").read_text())
    return entries


def add_images(root: Path, count: int) -> None:
    """More patients in the same folder and table, of a class of their own."""
    more = draw_table(root.parent / "more", cases=count, seed=3, site="x")
    for file in (more / "images").iterdir():
        shutil.copy(file, root / "images")
    frames = [pd.read_csv(folder / "labels.csv", dtype="str") for folder in (root, more)]
    frames[1]["finding"] = "unclear"
    pd.concat(frames[::-1]).to_csv(root / "labels.csv", index=False)


def test_images_added_since_do_not_move_training_cases_into_test(run: Run, here: Path) -> None:
    add_images(here / "data", 36)
    before, stored = split_of("run"), metrics("run")
    for verb, part in (("test", "test"), ("validate", "val")):
        status, _, err = run(verb, "--ckpt_path", f"run/{BEST}", "--run_dir", verb)
        assert status == 0, err
        assert "36 of 108 cases are not in" in err
        assert "left out" in err
        assert evaluated(verb) == {case for case, where in before.items() if where == part}
        assert split_of(verb) == before
        assert metrics(verb) == {name: entry for name, entry in stored.items() if name.startswith(f"{part}/")}


def test_another_test_fraction_does_not_evaluate_training_cases(run: Run, here: Path) -> None:
    flags = ["--ckpt_path", f"run/{BEST}", "--data.test_fraction", "0.6"]
    status, _, err = run("test", *flags, "--run_dir", "no")
    assert status == 2
    line = one_line(err)
    assert "--data.test_fraction 0.6: was 0.2 when run was trained" in line
    named = [*flags, *DATA, "--data.root", "data"]
    status, _, err = run("test", *named, "--run_dir", "no")
    assert status == 2
    line = one_line(err)
    assert line.startswith(f"error: --ckpt_path run/{BEST}: ")
    assert "it was trained or chosen on" in line
    assert "--data.allow_leakage true" in line
    assert not Path("no").exists()

    status, _, err = run("test", *named, "--run_dir", "yes", "--data.allow_leakage", "true")
    assert status == 0, err
    own, found = split_of("run"), metrics("yes")
    count = sum(own[case] != "test" for case in evaluated("yes"))
    assert count > 0
    assert f"{count} of {len(evaluated('yes'))} test cases are among those it was trained or chosen on" in err
    for kind in ("", "/case_id", "/patient", "/image"):
        entry = found[f"split/test_cases_seen_in_training{kind}"]
        assert (entry["value"], entry["n"]) == (count, len(evaluated("yes")))


@pytest.mark.parametrize("kind", ["case id", "patient", "identical image"])
def test_another_hospital_with_a_training_case(run: Run, here: Path, kind: str) -> None:
    """Each of the three kinds is enough, and a validation case counts in a test as a training case does."""
    other = draw_table(here / "other", cases=20, seed=7, site="b")
    frame: Any = pd.read_csv(other / "labels.csv", dtype="str").assign(case_id=[f"b{row}" for row in range(20)])
    known: Any = pd.read_csv(here / "data" / "labels.csv", dtype="str").set_index(
        pd.read_csv(here / "data" / "labels.csv")["path"].str.removesuffix(".png")
    )
    seen = cases_of("val")[0]
    if kind == "case id":
        frame.loc[4, "case_id"] = seen
    elif kind == "patient":
        frame.loc[4, "patient_id"] = known.loc[seen, "patient_id"]
    else:
        shutil.copy(here / "data" / known.loc[seen, "path"], other / frame.loc[4, "path"])
    frame.to_csv(other / "labels.csv", index=False)
    flags = ["--ckpt_path", f"run/{BEST}", *DATA, "--data.root", "other", "--data.split", "all_test"]
    status, _, err = run("test", *flags, "--run_dir", "x")
    assert status == 2
    line = one_line(err)
    assert f"1 of 20 test cases are among those it was trained or chosen on (1 by {kind}; " in line
    assert f"the first is {seen if kind == 'case id' else 'b4'!r})" in line
    assert ("no image is the same" in line) == (kind != "identical image")
    frame[frame.index != 4].to_csv(other / "labels.csv", index=False)
    status, _, err = run("test", *flags, "--run_dir", "x")
    assert status == 0, err
    assert not any(name.startswith("split/") for name in metrics("x"))


def test_images_that_are_gone_are_named(run: Run, here: Path) -> None:
    frame = pd.read_csv("data/labels.csv", dtype="str")
    frame.iloc[2:].to_csv("data/labels.csv", index=False)
    status, _, err = run("test", "--ckpt_path", f"run/{BEST}", "--run_dir", "no")
    assert status == 2
    gone = [path.removesuffix(".png") for path in frame["path"].iloc[:2]]
    line = one_line(err)
    for name in gone:
        assert repr(name) in line
    assert "2 of 72 rows" in line


def test_a_run_that_goes_on_keeps_its_split(run: Run, here: Path) -> None:
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    before = split_of("run")
    add_images(here / "data", 36)
    frame = pd.read_csv("data/labels.csv", dtype="str")
    frame["finding"] = frame["finding"].replace("unclear", "ill")  # a new class would change the model
    frame.to_csv("data/labels.csv", index=False)
    Path("run/metrics.json").unlink()
    status, _, err = run("fit", *DATA, "--data.root", "data", "--run_dir", "run", "--ckpt_path", "last",
                         "--data.test_fraction", "0.4")  # fmt: skip
    assert status == 2
    assert "--data.test_fraction 0.4: was 0.2" in one_line(err)
    status, _, err = run("fit", *DATA, "--data.root", "data", "--run_dir", "run", "--ckpt_path", "last")
    assert status == 0, err
    assert "36 of 108 cases are not in" in err
    assert split_of("run") == before
    assert evaluated("run") == {case for case, where in before.items() if where != "train"}
    assert yaml.safe_load(Path("run/config.yaml").read_text()) == config


def taught(way: str) -> list[str]:
    """Flags that make a model begin with ``run``, or learn from it."""
    if way in ("pth", "safetensors"):
        extract_weights(Path("run") / BEST, Path(f"w.{way}"))
        return ["--model.weights", f"w.{way}"]
    return {
        "weights": ["--model.weights", f"run/{BEST}"],
        "teacher": ["--model.teacher", f"run/{BEST}"],
        "prune": ["--model.weights", f"run/{BEST}", "--model.prune", "magnitude"],
    }[way]


@pytest.mark.parametrize("way", ["weights", "pth", "safetensors", "teacher", "prune"])
def test_ancestors_count_before_the_training_begins(run: Run, here: Path, way: str) -> None:
    flags = [*DATA, "--data.root", "data", *TINY, *taught(way), "--data.split_seed", "3"]
    status, _, err = run("fit", *flags, "--run_dir", "child")
    assert status == 2
    line = one_line(err)
    assert line.startswith(f"error: {'--model.teacher' if way == 'teacher' else '--model.weights'} ")
    assert "val cases are among those it was trained on" in line
    assert not Path("child").exists()


@pytest.mark.slow
def test_a_pruned_model_trains_on_with_its_parents_split(run: Run, here: Path) -> None:
    before = split_of("run")
    add_images(here / "data", 36)
    small = ["--model.weights", f"run/{BEST}", "--model.prune", "magnitude", "--trainer.accelerator", "cpu"]
    status, _, err = run("fit", *small, "--trainer.max_epochs", "1", "--run_dir", "small")
    assert status == 0, err
    assert split_of("small") == before
    assert evaluated("small/before") == evaluated("small") == {*cases_of("val"), *cases_of("test")}


def test_what_was_seen_is_handed_down(run: Run, here: Path) -> None:
    """From a run to the weights taken from it, and on to a model of other data."""
    extract_weights(Path("run") / BEST, Path("w.safetensors"))
    draw_table(here / "other", cases=40, seed=7, site="b")
    child = [*DATA, "--data.root", "other", *TINY, "--model.weights", "w.safetensors"]
    status, _, err = run("fit", *child, "--run_dir", "child")
    assert status == 0, err
    whole = ["--ckpt_path", f"child/{BEST}", *DATA, "--data.root", "data", "--data.split_file", "mine.csv"]
    parts = split_of("run")
    wanted = {"train": "test", "val": "train", "test": "val"}  # what trained is evaluated
    frame = pd.DataFrame({"case_id": list(parts), "split": [wanted[part] for part in parts.values()]})
    frame.to_csv("mine.csv", index=False)
    status, _, err = run("test", *whole, "--run_dir", "no")
    assert status == 2
    count = sum(part == "train" for part in parts.values())
    assert f"{count} of {count} test cases are among those it was trained or chosen on" in one_line(err)
    status, _, err = run("validate", *whole, "--run_dir", "yes")  # the first run's own test cases: seen by nobody
    assert status == 0, err


@pytest.mark.slow
def test_published_twins_are_no_news(run: Run, here: Path) -> None:
    """BreastMNIST has an image in train and in test: its own split is evaluated with the old warning, as ever."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 546), ("val", 78), ("test", 156)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 2, (count, 1))
    arrays["test_images"][76] = arrays["train_images"][115]
    np.savez(here / "breastmnist.npz", **arrays)
    data = ["--data", "MedMNIST", "--data.root", ".", "--data.name", "breastmnist"]
    status, _, err = run("fit", *data, *TINY, "--run_dir", "m", "--trainer.limit_train_batches", "1")
    assert status == 0, err
    status, _, err = run("test", "--ckpt_path", f"m/{BEST}", "--run_dir", "t")
    assert status == 0, err
    assert metrics("t")["split/images_in_two_parts"]["value"] == 1
    assert not any("seen_in_training" in name for name in metrics("t"))


def without_record(file: Path) -> None:
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint["scansuite"]["provenance"]
    torch.save(checkpoint, file)


def test_an_old_checkpoint_is_known_by_the_split_of_its_run(run: Run, here: Path) -> None:
    without_record(here / "run" / BEST)
    flags = ["--ckpt_path", f"run/{BEST}", *DATA, "--data.root", "data"]
    status, _, err = run("test", *flags, "--data.test_fraction", "0.6", "--run_dir", "no")
    assert status == 2
    assert "it was trained or chosen on" in one_line(err)
    status, _, err = run("test", "--ckpt_path", f"run/{BEST}", "--run_dir", "own")
    assert status == 0, err
    assert metrics("own") == {name: entry for name, entry in metrics("run").items() if name.startswith("test/")}

    Path("run/split.csv").unlink()
    status, _, err = run("test", *flags, "--run_dir", "blind")
    assert status == 0, err
    assert "does not say all that it was trained on" in err
    assert f"run/{BEST}" in metrics("blind")["split/seen_in_training_unknown"]


def test_the_checkpoint_of_another_user(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CONFIG", str(here / "someone"))
    key.cache_clear()
    try:
        named = [*DATA, "--data.root", "data", "--data.test_fraction", "0.6"]
        status, _, err = run("test", "--ckpt_path", f"run/{BEST}", *named, "--run_dir", "t")
        assert status == 0, err
        assert err.count("another user") == 1
        assert "another user" in metrics("t")["split/seen_in_training_unknown"]
    finally:
        key.cache_clear()


def test_without_a_run_beside_it_the_data_are_asked_for(run: Run, here: Path) -> None:
    shutil.copy(here / "run" / BEST, "best.ckpt")
    status, _, err = run("test", "--ckpt_path", "best.ckpt", "--run_dir", "t")
    assert status == 2
    assert "name the data with --data" in one_line(err)
    # A config that says nothing of data leaves those of the run.
    Path("cpu.yaml").write_text("trainer:\n  accelerator: cpu\n")
    status, _, err = run("test", "--ckpt_path", f"run/{BEST}", "--config", "cpu.yaml", "--run_dir", "t")
    assert status == 0, err
    assert evaluated("t") == set(cases_of("test"))


def test_what_an_ensemble_was_chosen_on_is_not_tested(run: Run, here: Path) -> None:
    """Its operating point comes from the validation part of other data, which the members have never seen."""
    shutil.copytree("run", "twin")
    draw_table(here / "other", cases=40, seed=7, site="b")
    other = [*DATA, "--data.root", "other"]
    status, _, err = run("validate", "--ckpt_paths", "run", "twin", *other, "--run_dir", "chosen")
    assert status == 0, err
    status, _, err = run("test", "--ckpt_paths", "chosen", *other, "--run_dir", "t")
    assert status == 0, err
    status, _, err = run("test", "--ckpt_paths", "chosen", *other, "--data.split", "all_test", "--run_dir", "no")
    assert status == 2
    count = len(cases_of("val", "chosen"))
    assert f"what was chosen for them: {count} of 40 test cases" in one_line(err)


def test_a_new_class_is_left_out_with_its_images(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def draw(name: str) -> None:
        for number in range(20):
            file = tmp_path / "folders" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).save(file)

    draw("ill")
    draw("well")
    status, _, err = run("fit", "--data", "ImageFolder", "--data.root", "folders", *TINY, "--run_dir", "run")
    assert status == 0, err
    draw("new")
    status, _, err = run("test", "--ckpt_path", f"run/{BEST}", "--run_dir", "t")
    assert status == 0, err
    assert evaluated("t") == set(cases_of("test"))


def test_folds_that_go_on_keep_their_splits(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were drawn before the first was trained, whatever has come to the folder since."""

    def stop(task: str, words: Sequence[str]) -> None:
        raise SuiteError("out of memory")

    command = ["fit", "--folds", "2", "--run_dir", "f", "--judge_test", "false"]
    monkeypatch.setattr(folds, "run_command", stop)
    status, _, err = run(*command, *DATA, "--data.root", "data", *TINY)
    assert status == 2
    before = [split_of(f"f/fold_{fold}") for fold in (0, 1)]
    add_images(here / "data", 36)
    monkeypatch.setattr(folds, "run_command", in_process)
    status, _, err = run(*command, "--ckpt_path", "last")
    assert status == 0, err
    for fold, split in enumerate(before):
        assert split_of(f"f/fold_{fold}") == split
        assert evaluated(f"f/fold_{fold}") == {case for case, part in split.items() if part == "val"}
    assert evaluated("f") == {case for case, part in before[0].items() if part != "test"}


def test_folds_do_not_begin_with_a_model_that_has_seen_them(run: Run, here: Path) -> None:
    """The next fold's cases trained it, wherever the first fold would be right."""
    flags = [*DATA, "--data.root", "data", *TINY, "--model.weights", f"run/{BEST}"]
    status, _, err = run("fit", "--folds", "5", *flags, "--run_dir", "f")
    assert status == 2
    count = len(cases_of("train"))
    assert f"{count} of {count + len(cases_of('val'))} val cases are among those it was trained on" in one_line(err)
    assert not Path("f").exists()
