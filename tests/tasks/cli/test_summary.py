"""The verb ``summary``."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.tasks.cli.conftest import Run, one_line


def rows(out: str) -> dict[str, list[str]]:
    """Cells of each layer by its name."""
    return {line.split()[0]: line.split() for line in out.splitlines() if line.startswith(("backbone.", "head."))}


def test_small_cnn_of_the_course(run: Run) -> None:
    status, out, _ = run(
        "summary", "--model.backbone", "small_cnn", "--model.head", "native", "--classes", "10",
        "--model.dropout", "0.5", "--model.backbone_args.filters", "[16,32]", "--model.backbone_args.dropout2d", "0.25",
    )  # fmt: skip
    assert status == 0
    assert "images of 3 x 32 x 32, 10 classes" in out
    assert "parameters     268,746, 268,746 of them trainable" in out
    conv = ["backbone.blocks.1.conv1", "Conv2d", "3", "1", "1", "32x16x16", "8", "4,640", "1,179,648"]
    assert rows(out)["backbone.blocks.1.conv1"] == conv
    assert "multiply-adds  1,885,440 for one image" in out


def test_sizes_from_flags_and_a_table(run: Run) -> None:
    status, out, _ = run(
        "summary",
        "--model.backbone",
        "resnet18",
        "--image_size",
        "96,128",
        "--channels",
        "1",
        "--csv",
        "out/layers.csv",
    )
    assert status == 0
    assert rows(out)["backbone.conv1"][2:7] == ["7", "2", "3", "64x48x64", "7"]
    assert "435" in rows(out)["backbone.layer4.1.act2"]
    table = list(csv.DictReader(Path("out/layers.csv").read_text(encoding="utf-8").splitlines()))
    assert sum(int(row["parameters"]) for row in table) == 11_689_512 - 513_000 - 2 * 64 * 49 + 2 * 513
    assert not Path("runs").exists()


def test_weights_are_not_fetched_and_frozen_is_not_trainable(run: Run) -> None:
    status, out, _ = run(
        "summary", "--model.backbone", "resnet18", "--model.weights", "imagenet", "--model.freeze", "backbone"
    )
    assert status == 0
    assert "1,026 of them trainable" in out


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_other_tasks(run_task: Run, task: str) -> None:
    status, out, err = run_task(task, "summary", "--model.backbone", "test_resnet", "--image_size", "64")
    assert status == 0, err
    assert f"test_resnet, {task}" in out
    assert f"\n{ {'segment': 'decoder.', 'detect': 'detector.'}[task] }" in out


def test_size_and_channels_from_the_data(run: Run, table_root: Path) -> None:
    data = ["--data", "ImageTable", "--data.root", table_root, "--data.label_columns", "organ"]
    status, out, err = run("summary", "--model.backbone", "test_resnet", *data)
    assert status == 0, err
    assert "images of 1 x 24 x 24, 3 classes" in out
    status, _, err = run("summary", *data, "--classes", "3")
    assert status == 2
    assert "--classes: comes from the data" in one_line(err)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.backbone", "resnet81"], "unknown backbone 'resnet81'"),
        (["--image_size", "tall"], "--image_size tall: must be a side"),
        (["--channels", "0"], "--channels 0: must be a whole number"),
        (
            ["--model.backbone", "small_cnn", "--model.backbone_args.pool", "mean"],
            "backbone_args.pool mean: there are max",
        ),
    ],
)
def test_refused_in_one_line(run: Run, flags: list[str], message: str) -> None:
    status, _, err = run("summary", *flags)
    assert status == 2
    assert message in one_line(err)
