"""Training on features of a frozen backbone by the command line: the model is whole, features are kept, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line

FROZEN = ["--model.freeze", "backbone", "--data.cache", "features"]
BEST = "run/checkpoints/best.ckpt"


@pytest.fixture
def table(table_root: Path) -> list[str]:
    return ["--data", "ImageTable", "--data.root", str(table_root), *TINY, *FROZEN, "--data.cache_dir", "cache"]


@pytest.mark.parametrize("head", ["pool", "kernel", "knn", "mlp"])
def test_a_model_on_features_is_a_model_on_images(run: Run, table: list[str], head: str) -> None:
    words = [*table, *KINDS["binary"], "--model.head", head]
    status, _, err = run("fit", *words, "--run_dir", "run")
    assert status == 0, err
    assert "--data.cache features:" in err
    fitted = pd.read_csv("run/predictions.csv", float_precision="round_trip")
    status, _, err = run("test", "--ckpt_path", BEST, "--run_dir", "again")  # from images
    assert status == 0, err
    seen = pd.read_csv("again/predictions.csv", float_precision="round_trip")
    both = fitted.merge(seen, on="case_id", suffixes=("", "_again"))
    assert len(both) == len(seen) > 0
    assert both["score_ill_again"].to_numpy() == pytest.approx(both["score_ill"].to_numpy(), abs=1e-4)
    assert both["prediction_op_again"].tolist() == both["prediction_op"].tolist()


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "ordinal", "regression"])
@pytest.mark.parametrize("head", ["pool", "kernel"])
def test_every_kind_of_target_is_fitted(run: Run, table: list[str], kind: str, head: str) -> None:
    status, out, err = run("fit", *table, *KINDS[kind], "--model.head", head, "--run_dir", "run")
    assert status == 0, err
    assert "test: " in out
    assert "train longer" not in out  # more epochs would do nothing
    kept = torch.load(BEST, weights_only=True)["hyper_parameters"]
    assert kept["l2"] is not None
    assert yaml.safe_load(Path("run/config.yaml").read_text())["data"]["init_args"]["cache"] == "features"


def test_features_are_kept_by_weights_and_augmentation(run: Run, table: list[str]) -> None:
    words = [*table, *KINDS["binary"]]

    def fitted(name: str, *more: str) -> list[str]:
        status, _, err = run("fit", *words, *more, "--run_dir", name)
        assert status == 0, err
        return [line for line in err.splitlines() if line.startswith("--data.cache features:")]

    first, second = fitted("a"), fitted("b")
    assert all("computed in" in line for line in first)
    assert all("ready in cache/features/" in line for line in second)
    one, two = (pd.read_csv(f"{name}/predictions.csv") for name in ("a", "b"))
    pd.testing.assert_frame_equal(one, two)
    copies = fitted("c", "--data.feature_copies", "3", "--data.augment", "light")
    number = int(first[0].split(" images")[0].split()[-1])
    assert f"{number} images of train in 3 copies" in copies[0]
    assert f"{2 * number} computed" in copies[0]  # the images as they are, are there already
    assert all("ready" in line for line in fitted("d", "--data.feature_copies", "3", "--data.augment", "light"))
    other = fitted("e", "--data.feature_copies", "3", "--data.augment", "strong")
    assert f"{2 * number} computed" in other[0]
    assert all("computed in" in line for line in fitted("f", "--seed_everything", "1"))  # other weights


def test_what_does_not_go_is_refused_in_one_line(run: Run, table: list[str]) -> None:
    words = [*table, *KINDS["binary"]]
    without = [word for word in words if word not in ("--model.freeze", "backbone")]
    for flags, said in [
        (without, "the backbone trains"),
        ([*words, "--model.unfreeze", "1"], "--model.unfreeze lets the backbone train later"),
        ([*words, "--model.mixup", "0.2"], "--model.mixup mixes images"),
        ([*words, "--model.ema", "0.9"], "there is nothing to average"),
        ([*words, "--model.loss", "focal"], "take --model.head mlp"),
        ([*words, "--model.label_smoothing", "0.1"], "take --model.head mlp"),
        ([*words, "--model.aggregate", "mean"], "many images of a case"),
        ([*words, "--data.feature_copies", "0"], "--data.feature_copies 0: must be at least 1"),
        ([*words, "--model.l2", "0"], "--model.l2 0"),
        ([*words, "--data.cache", "none", "--model.head", "knn"], "compares features that are kept"),
        ([*words, "--data.cache", "none", "--data.feature_copies", "2"], "it is of --data.cache features"),
    ]:
        status, _, err = run("fit", *flags, "--run_dir", "run")
        assert status == 2, flags
        assert said in one_line(err)
        assert not Path("run").exists()


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_tasks_that_need_maps_refuse_features(run_task: Run, task: str) -> None:
    words = ["--model.backbone", "test_resnet", "--data.num_patients", "12", *FROZEN, "--run_dir", "run"]
    status, _, err = run_task(task, "fit", *words)
    assert status == 2
    assert f"--data.cache features: {task} needs maps and not one vector of an image: leave it out" in one_line(err)


@pytest.mark.slow  # exporting alone takes seconds
def test_a_model_with_neighbours_predicts_and_exports(run: Run, table: list[str], table_root: Path) -> None:
    status, _, err = run("fit", *table, *KINDS["multiclass"], "--model.head", "knn", "--run_dir", "run")
    assert status == 0, err
    status, _, err = run("predict", "--ckpt_path", BEST, "--input", table_root / "images", "--output", "out")
    assert status == 0, err
    scores = pd.read_csv("out/predictions.csv").filter(like="score_").to_numpy()
    assert np.allclose(scores.sum(axis=1), 1)
    status, _, err = run("export", "--ckpt_path", BEST, "--output", "model.onnx")
    assert status == 0, err
    status, _, err = run("predict", "--ckpt_path", "model.onnx", "--input", table_root / "images", "--output", "onnx")
    assert status == 0, err
    assert pd.read_csv("onnx/predictions.csv").filter(like="score_").to_numpy() == pytest.approx(scores, abs=1e-3)
