"""Images and masks in one folder, and a choice among files, on the command line; made of real scans."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.bids_on_disk import binary, hippocampi, link, nuclei
from tests.tasks.cli.conftest import TINY, Run, one_line
from tests.tasks.cli.test_segment import TINY_UNET

SMALL = ["--data.image_size", "32", "--data.fold", "1", "--data.folds", "3"]
BEST = "run/checkpoints/best.ckpt"


@pytest.fixture
def segment(run_task: Run) -> Run:
    return partial(run_task, "segment")


def test_flat_images_beside_their_masks(segment: Run, shared_data: Path) -> None:
    for number, (image, mask) in enumerate(nuclei(shared_data, 14)):
        link(image, Path(f"cells/img_{number:03d}{image.suffix}"))
        binary(mask, Path(f"cells/mask_{number:03d}.png"))
    flags = ["--data", "MaskFolder", "--data.root", "cells"]
    status, _, err = segment(
        "fit", *flags, "--data.exclude", "*_013.*", *SMALL, *TINY_UNET, "--data.batch_size", "4", "--run_dir", "run"
    )
    assert status == 0, err
    said = " ".join(err.split())
    assert "masks lie beside their images: img_000.png with mask_000.png (13 images)" in said
    assert "1 of 14 files are left out (--data.exclude *_013.*)" in said
    assert yaml.safe_load(Path("run/config.yaml").read_text())["data"]["init_args"]["exclude"] == "*_013.*"
    split = pd.read_csv("run/split.csv", dtype=str)
    assert sorted(split["case_id"]) == [f"img_{number:03d}" for number in range(13)]

    flags = ["predict", "--ckpt_path", BEST, "--input", "cells", "--data.num_workers", "0"]
    status, _, err = segment(*flags, "--output", "out", "--include", "*_00*")
    assert status == 0, err
    assert pd.read_csv("out/predictions.csv")["case_id"].nunique() == 10
    passed = pd.read_csv("out/passed_over.csv")
    assert passed["reason"].unique().tolist() == ["a mask by its name, which lies beside its image"]
    status, _, err = segment(*flags, "--output", "none", "--include", "img_1")
    assert status == 2
    assert "--include img_1: fits none of the 28 files in cells: the nearest is" in one_line(err)


def test_volumes_beside_their_masks(segment: Run, shared_data: Path) -> None:
    for number, (image, mask) in enumerate(hippocampi(shared_data, 10)):
        link(image, Path(f"brains/case{number}/image.nii.gz"))
        link(mask, Path(f"brains/case{number}/seg.nii.gz"))
    flags = ["--data", "Volumes", "--data.root", "brains"]
    status, _, err = segment("fit", *flags, *SMALL, *TINY_UNET, "--run_dir", "run")
    assert status == 0, err
    said = "masks lie beside their images: case0/image.nii.gz with seg.nii.gz (10 cases)"
    assert said in " ".join(err.split())
    assert "test/dice/2" in json.loads(Path("run/metrics.json").read_text())
    status, _, err = segment(
        "predict", "--ckpt_path", BEST, "--input", "brains", "--output", "out", "--data.num_workers", "0"
    )
    assert status == 0, err
    assert pd.read_csv("out/predictions.csv")["case_id"].nunique() == 10
    assert len(pd.read_csv("out/passed_over.csv")) == 10


@pytest.mark.parametrize(
    ("files", "flags", "said"),
    [
        (["a.png", "a_mask.png", "b.png"], [], "b.png: no mask of this name beside it (1 of 2 images have none)"),
        (["a.png", "a_mask.png", "b_mask.png"], [], "b_mask.png: no image of this name beside it (1 masks have none)"),
        (["a.png", "a_mask.png", "a_label.png"], [], "its mask may be a_label.png or a_mask.png: choose with --data."),
        (["a.png", "b.png"], [], "no such folder: MaskFolder wants images/ beside masks/ or labels/, or masks beside"),
        (["a.png", "a_mask.png"], ["--data.images", "imgs"], "--data.images scans/imgs: no such folder"),
    ],
)
def test_what_has_no_partner_is_named(
    files: list[str], flags: list[str], said: str, segment: Run, shared_data: Path
) -> None:
    image, mask = nuclei(shared_data, 1)[0]
    for name in files:
        if mask_like := ("_" in name):
            binary(mask, Path("scans") / name)
        if not mask_like:
            link(image, Path("scans") / name)
    status, _, err = segment("fit", "--data", "MaskFolder", "--data.root", "scans", *flags, *SMALL, *TINY_UNET)
    assert status == 2
    assert said in one_line(err)


def test_a_kind_among_several_volumes_of_a_case_is_chosen(segment: Run, shared_data: Path) -> None:
    for number, (image, mask) in enumerate(hippocampi(shared_data, 9)):
        for name, file in (("flair", image), ("t1", image), ("seg", mask)):
            link(file, Path(f"brats/b{number}/b{number}_{name}.nii.gz"))
    flags = ["--data", "Volumes", "--data.root", "brats", *SMALL, *TINY_UNET, "--run_dir", "run"]
    status, _, err = segment("fit", *flags)
    assert status == 2
    assert "its image may be b0/b0_flair.nii.gz or b0/b0_t1.nii.gz: choose with --data.include" in one_line(err)
    status, _, err = segment("fit", *flags, "--data.include", "*_flair.nii.gz", "--judge_test", "false")
    assert status == 0, err
    assert len(pd.read_csv("run/split.csv")) == 9


def test_class_folders_are_chosen_among(run: Run, shared_data: Path) -> None:
    radiographs = sorted((shared_data / "nih_cxr64" / "train").rglob("*.png"))
    for number, file in enumerate(radiographs[::30][:18]):
        link(file, Path("sorted") / ("left", "right", "odd")[number % 3] / f"{number}.png")
    flags = ["fit", "--data", "ImageFolder", "--data.root", "sorted", "--data.sided", "false", *SMALL, *TINY]
    status, _, err = run(*flags, "--data.exclude", "odd", "--run_dir", "run", "--judge_test", "false")
    assert status == 0, err
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["data"]["init_args"]["exclude"] == "odd"
    assert len(pd.read_csv("run/split.csv")) == 12
    status, _, err = run(*flags, "--data.include", "lefty")
    assert status == 2
    assert "--data.include lefty: fits none of the 18 files in sorted: the nearest is left" in one_line(err)
    shutil.copyfile("sorted/left/0.png", "sorted/loose.png")
    status, _, err = run(*flags, "--data.exclude", "odd,loose.png", "--run_dir", "again", "--judge_test", "false")
    assert status == 0, err
