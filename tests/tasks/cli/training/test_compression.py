"""Pruning and distillation through the real command line."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tasks.cli.main import main
from tasks.cli.training.comparison import _metric_rows
from tasks.evaluation.comparison.paired import Paired
from tasks.evaluation.metric_values import MetricValue
from tests.tasks.cli.conftest import Run, one_line

FAST = [
    "--data.num_patients", "40", "--data.image_size", "32", "--data.num_workers", "0", "--data.augment", "none",
    "--data.batch_size", "16", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true",
]  # fmt: skip


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The run of a small classifier."""
    run_dir = tmp_path_factory.mktemp("parent") / "run"
    words = ["fit", *FAST, "--model.backbone", "small_cnn", "--trainer.max_epochs", "1", "--run_dir", str(run_dir)]
    assert main("classify", words) == 0
    return run_dir


def table(run_dir: Path) -> Any:
    return pd.read_csv(run_dir / "compression.csv").set_index("quantity")


def test_channels_are_pruned_trained_on_and_evaluated_before_and_after(run: Run, parent: Path, tmp_path: Path) -> None:
    best = parent / "checkpoints" / "best.ckpt"
    status, out, err = run(
        "fit", "--model.weights", best, "--model.prune", "channels", "--trainer.max_epochs", 1,
        "--trainer.accelerator", "cpu", "--model.lr", 0.0001, "--run_dir", "small",
    )  # fmt: skip
    assert status == 0, err
    rows = table(tmp_path / "small")
    gone = 1 - rows.loc["multiply_adds", "after"] / rows.loc["multiply_adds", "before"]
    assert 0.5 <= gone < 0.6
    assert rows.loc["parameters", "after"] < rows.loc["parameters", "before"]
    assert rows.loc[["milliseconds_batch_1", "milliseconds_batch_16"], ["before", "after"]].gt(0).all(axis=None)
    # Before is what the run itself had found.
    told: Any = pd.read_json(parent / "metrics.json").T
    for part in ("val/auroc", "test/auroc"):
        assert rows.loc[part, "before"] == pytest.approx(told.loc[part, "value"])
        # Of so few patients it is withheld.
        assert told.loc[part, "withheld"].startswith("fewer than")
        assert rows.loc[part, ["before_low", "before_high", "after_low", "after_high"]].isna().all()
    change = rows.loc["test/auroc", "after"] - rows.loc["test/auroc", "before"]
    assert rows.loc["test/auroc", "difference"] == pytest.approx(change)
    assert rows.loc["test/auroc", ["difference_low", "difference_high", "p"]].isna().all()
    assert rows.loc["parameters", ["difference", "p"]].isna().all()
    assert "pruned: channels" in out
    assert "val/auroc" in out
    assert (tmp_path / "small" / "before" / "predictions.csv").is_file()
    looks = pd.read_csv(tmp_path / "index.csv")
    assert list(looks["checkpoint"]) == [str(best), "best.ckpt"]

    # The network was the parent's (no flag said so), and its checkpoint is evaluated and goes on as any other.
    small = tmp_path / "small" / "checkpoints" / "best.ckpt"
    assert torch.load(small, weights_only=True)["hyper_parameters"]["backbone"] == "small_cnn"
    status, _, err = run("test", "--ckpt_path", small, "--trainer.accelerator", "cpu", "--run_dir", "tested")
    assert status == 0, err
    metrics: list[Any] = [pd.read_json(tmp_path / folder / "metrics.json").T for folder in ("small", "tested")]
    assert metrics[0].loc["test/auroc", "value"] == metrics[1].loc["test/auroc", "value"]
    (tmp_path / "small" / "metrics.json").unlink()
    status, out, err = run("fit", "--ckpt_path", "last", "--run_dir", "small")
    assert status == 0, err
    assert "pruned: channels" in out


def test_weights_are_pruned_without_training(run: Run, parent: Path, tmp_path: Path) -> None:
    augmented_on_a_gpu = shutil.copytree(parent, tmp_path / "parent")  # which the machine that prunes need not have
    config = augmented_on_a_gpu / "config.yaml"
    assert "augment_on: cpu" in config.read_text()
    config.write_text(config.read_text().replace("augment_on: cpu", "augment_on: gpu"))
    status, _, err = run(
        "fit", "--model.weights", augmented_on_a_gpu / "checkpoints" / "best.ckpt", "--model.prune", "magnitude",
        "--model.prune_amount", 0.7, "--trainer.max_epochs", 0, "--trainer.accelerator", "cpu", "--run_dir", "sparse",
    )  # fmt: skip
    assert status == 0, err
    rows = table(tmp_path / "sparse")
    assert rows.loc["parameters", "after"] == rows.loc["parameters", "before"]
    assert rows.loc["nonzero", "after"] == pytest.approx(0.3, abs=1e-4)
    assert 0 <= rows.loc["val/auroc", "before"] <= 1


def test_intervals_of_both_stand_in_the_table() -> None:
    before, after = {"auroc": MetricValue(0.8, 0.7, 0.9, 50)}, {"auroc": MetricValue(0.7, 0.55, 0.8, 50)}
    pairs = {"auroc": Paired(-0.1, (-0.18, -0.02), 0.013, "DeLong", 50, 50, 20)}
    more = after | {"auroc/a": before["auroc"], "ece": after["auroc"]}
    assert _metric_rows("test", before, more, pairs) == [
        ("test/auroc", 0.8, 0.7, 0.9, 0.7, 0.55, 0.8, -0.1, -0.18, -0.02, 0.013)
    ]
    (alone,) = _metric_rows("test", before, after, {})
    assert alone[:7] == ("test/auroc", 0.8, 0.7, 0.9, 0.7, 0.55, 0.8)
    assert all(math.isnan(number) for number in alone[7:])


def test_a_student_learns_from_a_teacher(run: Run, parent: Path, tmp_path: Path) -> None:
    scores: dict[str, Any] = {"teacher": pd.read_csv(parent / "predictions.csv").set_index(["split", "case_id"])}
    taught: list[Any] = ["--model.teacher", parent / "checkpoints" / "best.ckpt", "--model.distill_alpha", 0.9]
    ways: dict[str, list[Any]] = {"alone": [], "taught": taught}
    for name, flags in ways.items():
        status, _, err = run(
            "fit", *FAST, "--model.backbone", "test_resnet", "--model.stem", "standard", *flags,
            "--trainer.max_epochs", 3, "--run_dir", name,
        )  # fmt: skip
        assert status == 0, err
        scores[name] = pd.read_csv(tmp_path / name / "predictions.csv").set_index(["split", "case_id"])
    logged: Any = pd.read_csv(tmp_path / "taught" / "metrics.csv")
    expected = 0.1 * logged["train/loss"] + 0.9 * logged["train/distill_output"]
    assert logged["train/objective"].to_list() == pytest.approx(expected.to_list(), rel=1e-4)
    assert logged["train/distill_output"].iloc[-1] < logged["train/distill_output"].iloc[0]
    column = next(name for name in scores["alone"].columns if name.startswith("score_"))
    far = {name: (scores[name][column] - scores["teacher"][column]).abs().mean() for name in ("alone", "taught")}
    assert far["taught"] < 0.8 * far["alone"], far


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.teacher", "none.ckpt"], "--model.teacher none.ckpt: no such file"),
        (["--model.teacher", "{segment}"], "a checkpoint of the task 'segment', not of 'classify': --model.teacher"),
        (["--model.teacher", "{parent}", "--model.distill_alpha", "2"], "--model.distill_alpha 2"),
        (["--model.prune", "channels"], "--model.prune: prunes what has been trained"),
        (["--model.prune", "channels", "--model.weights", "imagenet"], "--model.prune: prunes what has been trained"),
        (["--model.prune", "channels", "--model.weights", "{segment}"], "--model.prune takes a checkpoint of the same"),
        (["--model.prune", "chanels", "--model.weights", "{parent}"], "prune"),
        (["--model.prune", "magnitude", "--model.weights", "{parent}", "--model.backbone", "test_resnet"],
         "the weights do not fit"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(run: Run, parent: Path, tmp_path: Path, words: list[str], message: str) -> None:
    places = {"parent": str(parent / "checkpoints" / "best.ckpt"), "segment": str(tmp_path / "segment.ckpt")}
    torch.save({"scansuite": {"task": "segment"}, "state_dict": {}}, places["segment"])
    network = [] if "--model.prune" in words else ["--model.backbone", "test_resnet"]
    given = FAST if "--model.teacher" in words or "{parent}" not in words else []
    status, _, err = run("fit", *given, *network, *(word.format(**places) for word in words), "--run_dir", "not")
    assert status == 2
    assert message in one_line(err)
    assert not (tmp_path / "not").exists()
