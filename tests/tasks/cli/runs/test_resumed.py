"""A run that an earlier version began goes on with what it saw: its files lack what came since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import yaml

from datamodules.augmenting import TrainingAugmentation
from tests.tasks.cli.conftest import Run, one_line
from tests.tasks.cli.cuts import Killed, assert_alike, cut_after, fit

LAST = "run/checkpoints/last.ckpt"
FLAGS = [
    "--data.num_workers", "0", "--data.batch_size", "8", "--data.image_size", "32", "--trainer.accelerator", "cpu",
    "--trainer.precision", "32-true", "--trainer.max_epochs", "2", "--model.backbone", "test_resnet",
]  # fmt: skip
PHANTOMS = ["--data.num_patients", "10", *FLAGS]
NEW_FLAGS = ("sided", "new_cases", "readers", "skip_unreadable", "augment_on")
NEW_ARGUMENTS = ("has_sides", "metrics", "monitor", "loss_args", "head_args", "box_loss_args", "class_loss")


def cut_off_long_ago(task: str, *flags: object) -> None:
    """A run of two epochs, killed after the first; its files as they were before ranges and sides were looked at."""
    with cut_after(1), pytest.raises(Killed):
        fit(task, Path("run"), *flags)
    checkpoint: dict[str, Any] = torch.load(LAST, weights_only=True)
    hparams = checkpoint["hyper_parameters"]
    del hparams["preprocess"]["stored_range"]
    for name in NEW_ARGUMENTS:
        hparams.pop(name, None)
    checkpoint["scansuite"].pop("provenance", None)
    torch.save(checkpoint, LAST)
    file = Path("run/config.yaml")
    config = yaml.safe_load(file.read_text())
    for name in NEW_FLAGS:
        config["data"]["init_args"].pop(name)
    config["data"]["init_args"].pop("patches", None)
    file.write_text(yaml.safe_dump(config))


def saved() -> dict[str, Any]:
    hparams: dict[str, Any] = torch.load(LAST, weights_only=True)["hyper_parameters"]
    return hparams


@pytest.mark.parametrize(
    ("task", "flags"),
    [
        ("segment", ["--model.decoder_args", '{"decoder_channels": [16, 16, 8, 8, 8]}']),
        pytest.param(
            *("detect", ["--model.channels", "16", "--data.patch_size", "16", "--data.patches", "1"]),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_the_files_of_a_run_lack_is_as_it_was(task: str, flags: list[str], run_task: Run) -> None:
    """Phantoms state no range and have no sides, so the run ends as one of today that went through."""
    fit(task, Path("whole"), *PHANTOMS, *flags)
    cut_off_long_ago(task, *PHANTOMS, *flags)
    status, _, err = run_task(task, "fit", "--run_dir", "run", "--ckpt_path", "last", "--judge_test", "false")
    assert status == 0, err
    assert_alike(Path("whole"), Path("run"))
    assert saved()["preprocess"]["stored_range"] is False


@pytest.fixture
def hands(tmp_path: Path) -> list[str]:
    """Flags of images of left and right hands, 12 bits of 16 each, as their files state."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        pixels = rng.integers(0, 4096, (32, 32)).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"{number}.ome.tif", pixels, metadata={"axes": "YX", "SignificantBits": 12})
        rows.append({"path": f"{number}.ome.tif", "patient_id": f"p{number}", "hand": ("left", "right")[number % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    table = ["--data", "ImageTable", "--data.root", str(tmp_path), "--data.table", "labels.csv"]
    return [*table, "--data.label_columns", "hand", "--data.normalize", "none", *FLAGS]


def test_ranges_and_sides_are_those_of_the_beginning(hands: list[str], run: Run) -> None:
    cut_off_long_ago("classify", *hands)
    status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last", "--judge_test", "false")
    assert status == 0, err
    assert "classes have sides (left, right), but run began with images that were mirrored" in " ".join(err.split())
    assert saved()["preprocess"]["stored_range"] is False
    now = yaml.safe_load(Path("run/config.yaml").read_text())["data"]["init_args"]
    assert now["sided"] is False
    assert now["augment_on"] == "cpu"


def test_a_run_of_today_looks_at_ranges_when_it_goes_on(hands: list[str], run: Run) -> None:
    with cut_after(1), pytest.raises(Killed):
        fit("classify", Path("run"), *hands)
    status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last", "--judge_test", "false")
    assert status == 0, err
    assert "mirrored, and goes on" not in err
    assert saved()["preprocess"]["stored_range"] is True
    assert yaml.safe_load(Path("run/config.yaml").read_text())["data"]["init_args"]["sided"] is None


@pytest.mark.parametrize("preprocess", [{"size": 3}, {"newer": 1}, ["size"], {"channels": "x"}])
def test_a_preprocess_that_cannot_be_is_named(preprocess: Any, hands: list[str], run: Run) -> None:
    cut_off_long_ago("classify", *hands)
    checkpoint = torch.load(LAST, weights_only=True)
    checkpoint["hyper_parameters"]["preprocess"] = preprocess
    torch.save(checkpoint, LAST)
    status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last")
    assert status == 2
    assert "last.ckpt: its preprocess cannot be read" in one_line(err)


def test_other_images_are_refused_still(hands: list[str], run: Run) -> None:
    cut_off_long_ago("classify", *hands)
    flags = ["--data.gamma", "0.5"]
    status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last", *flags)
    assert status == 2
    assert "the data differ from those of the checkpoint: preprocess was" in one_line(err)


def test_a_run_that_a_gpu_augmented_goes_on_so_on_a_cpu(run_task: Run) -> None:
    """Played on a CPU: the tensor code is the same."""
    flags = [*PHANTOMS, "--data.augment", "strong", "--model.channels", "16"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingAugmentation, "_place", lambda self, cuda: ("gpu", ""))
        fit("detect", Path("whole"), *flags)
        with cut_after(1), pytest.raises(Killed):
            fit("detect", Path("run"), *flags)
    assert yaml.safe_load(Path("run/config.yaml").read_text())["data"]["init_args"]["augment_on"] == "gpu"
    status, _, err = run_task("detect", "fit", "--run_dir", "run", "--ckpt_path", "last", "--judge_test", "false")
    assert status == 0, err
    assert "augmentation on the GPU: as the run began on a GPU, with the same numbers" in " ".join(err.split())
    assert_alike(Path("whole"), Path("run"))
    sheet = cv2.imread("run/augmented.png")  # of what the model saw: an image, then its augmentations
    assert sheet is not None
    assert len({sheet[4:148, 4 + 148 * column : 148 + 148 * column].tobytes() for column in range(4)}) == 4
