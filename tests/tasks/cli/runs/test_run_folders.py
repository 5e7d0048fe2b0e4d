"""A run folder in the place of a checkpoint: for evaluation, prediction, weights, a teacher, and to go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tasks.cli.main import main
from tasks.cli.runs.named_run import named_run
from tests.datamodules.scans_on_disk import write_scans
from tests.tasks.cli.conftest import Run, one_line

FAST = [
    "--data.num_patients", "16", "--data.image_size", "32", "--data.num_workers", "0", "--data.augment", "none",
    "--data.batch_size", "16", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true",
    "--model.backbone", "small_cnn", "--trainer.max_epochs", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small classifier."""
    run_dir = tmp_path_factory.mktemp("trained") / "my run"
    assert main("classify", ["fit", *FAST, "--run_dir", str(run_dir)]) == 0
    return run_dir


def value(folder: Path, name: str) -> Any:
    return json.loads((folder / "metrics.json").read_text())[name]["value"]


def weights(file: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(file, weights_only=True)["state_dict"])


@pytest.mark.parametrize("inside", ["", "checkpoints"])
@pytest.mark.parametrize(("verb", "part"), [("test", "test"), ("validate", "val")])
def test_a_run_is_evaluated_by_its_folder(run: Run, trained: Path, verb: str, part: str, inside: str) -> None:
    status, _, err = run(verb, "--ckpt_path", trained / inside, "--trainer.accelerator", "cpu", "--run_dir", "out")
    assert status == 0, err
    best = trained / "checkpoints" / "best.ckpt"
    assert f"--ckpt_path {trained / inside}: {best}" in err  # which file it is
    assert value(Path("out"), f"{part}/auroc") == value(trained, f"{part}/auroc")


@pytest.mark.parametrize("verb", ["test", "validate"])
def test_a_run_of_another_task_is_named_as_one(run_task: Run, trained: Path, verb: str) -> None:
    status, _, err = run_task("segment", verb, "--ckpt_path", trained)
    assert status == 2
    assert "best.ckpt: is a checkpoint of the task 'classify', not of 'segment': " in one_line(err)
    assert "python -m tasks.segment fit --model.weights" in err


def test_a_run_predicts_by_its_folder(run: Run, trained: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "scans", ["a.png", "b.png", "c.png"], (32, 32))
    tables = []
    for number, asked in enumerate((trained, trained / "checkpoints" / "best.ckpt")):
        status, _, err = run(
            "predict", "--ckpt_path", asked, "--input", "scans", "--output", f"out{number}", "--trainer.accelerator",
            "cpu", "--data.num_workers", 0,
        )  # fmt: skip
        assert status == 0, err
        tables.append(pd.read_csv(f"out{number}/predictions.csv"))
    pd.testing.assert_frame_equal(tables[0], tables[1])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--ckpt_path", "own"], ["--ckpt_path", "last", "--run_dir", "own"]),
        (
            ["--ckpt_path=own", "--seed_everything", "1"],
            ["--ckpt_path=last", "--seed_everything", "1", "--run_dir", "own"],
        ),
        (["--ckpt_path", "own/checkpoints"], ["--ckpt_path", "last", "--run_dir", "own"]),
        (["--run_dir", "./own", "--ckpt_path", "own"], ["--run_dir", "./own", "--ckpt_path", "last"]),
        (["--run_dir=own", "--ckpt_path", "last"], ["--run_dir=own", "--ckpt_path", "last"]),
        (["--ckpt_path", "best.ckpt"], ["--ckpt_path", "best.ckpt"]),
        (["--run_dir", "own"], ["--run_dir", "own"]),
    ],
)
def test_the_folder_of_a_run_means_its_last_checkpoint(
    typed: list[str], meant: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "checkpoints").mkdir(parents=True)
    assert named_run(typed) == meant


def test_training_goes_on_in_a_run_by_its_folder(run: Run, trained: Path, tmp_path: Path) -> None:
    own = shutil.copytree(trained, tmp_path / "own")
    (own / "metrics.json").unlink()  # as where it was cut off behind the last epoch
    status, _, err = run("fit", "--ckpt_path", own)
    assert status == 0, err
    assert "goes on from its last checkpoint" in err
    assert value(own, "test/auroc") == value(trained, "test/auroc")
    assert len(pd.read_csv(own / "metrics.csv")) == len(pd.read_csv(trained / "metrics.csv"))


def test_training_starts_from_the_weights_and_the_teacher_of_a_run(run: Run, trained: Path) -> None:
    best = trained / "checkpoints" / "best.ckpt"
    ends = []
    for number, asked in enumerate((trained, best)):
        status, _, err = run(
            "fit", *FAST, "--model.weights", asked, "--model.teacher", asked, "--model.lr", 0, "--run_dir", number
        )
        assert status == 0, err
        ends.append(weights(Path(f"{number}/checkpoints/last.ckpt")))
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    backbone = [name for name, one in weights(best).items() if name.startswith("backbone.") and one.ndim == 4]
    assert backbone
    assert all(torch.equal(ends[0][name], weights(best)[name]) for name in backbone)
    # The run says which file it was.
    assert "best.ckpt" in Path("0/config.yaml").read_text() or str(trained) in Path("0/config.yaml").read_text()


def test_folders_that_are_no_run(run: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    (tmp_path / "ensemble").mkdir()
    (tmp_path / "ensemble" / "ensemble.json").write_text("{}")
    for folder, said in (
        ("empty", "empty: is no run folder: there is no checkpoints/best.ckpt in it"),
        ("begun", "begun: its run has no best.ckpt yet"),
        ("ensemble", "ensemble: is the folder of an ensemble: give --ckpt_paths ensemble"),
    ):
        status, _, err = run("test", "--ckpt_path", folder)
        assert (status, said in one_line(err)) == (2, True), err
    for flag in ("--model.weights", "--model.teacher"):
        status, _, err = run("fit", *FAST, flag, "empty", "--run_dir", "none")
        assert status == 2, err
        assert flag in one_line(err)
        assert "empty" in one_line(err)
        assert not Path("none").exists()
    status, _, err = run("fit", "--ckpt_path", trained, "--run_dir", "other")
    assert status == 2
    assert "a run goes on in its own folder: leave --run_dir out" in one_line(err)
    status, _, err = run("fit", "--ckpt_path", "empty")
    assert status == 2, err
    assert "empty: is no run folder" in one_line(err)
