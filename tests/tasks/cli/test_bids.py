"""BIDS folders on the command line, made of real scans: fit, test and predict of volumes and microscopy."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.bids_on_disk import write_microscopy, write_study
from tests.tasks.cli.conftest import TINY, Run, one_line
from tests.tasks.cli.test_segment import TINY_UNET

SMALL = ["--data.image_size", "32", "--data.fold", "1", "--data.folds", "3"]
STUDY = ["--data", "Bids", "--data.root", "study"]


@pytest.fixture
def segment(run_task: Run) -> Run:
    return partial(run_task, "segment")


def test_volumes_are_segmented_by_their_derivatives(segment: Run, shared_data: Path) -> None:
    write_study(Path("study"), shared_data)
    status, _, err = segment(
        "fit", *STUDY, "--data.suffix", "T1w", "--data.masks", "dseg", *SMALL, *TINY_UNET, "--run_dir", "run"
    )
    assert status == 0, err
    assert "15 images end in T1w, their masks in dseg in derivatives/manual" in " ".join(err.split())
    cases = pd.read_csv("run/cases.csv", dtype=str)
    assert {"age", "sex", "group", "session", "score"} <= set(cases)
    split = pd.read_csv("run/split.csv", dtype=str)
    assert len(split) == 15
    assert split["patient_id"].nunique() == 12
    assert split.groupby("patient_id")["split"].nunique().max() == 1  # sessions stay together
    assert {"sub-01_ses-01_T1w", "sub-04_T1w"} <= set(split["case_id"])
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert {"test/dice/anterior", "test/dice/posterior"} <= metrics.keys()  # as dseg.tsv names them
    config = yaml.safe_load(Path("run/config.yaml").read_text())["data"]["init_args"]
    assert (config["suffix"], config["masks"]) == ("T1w", "dseg")

    status, _, err = segment("test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "tested")
    assert status == 0, err
    assert json.loads(Path("tested/metrics.json").read_text())["test/dice"] == metrics["test/dice"]

    flags = ["predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", "study", "--data.num_workers", "0"]
    status, _, err = segment(*flags, "--output", "predicted", "--include", "*_T1w.nii.gz", "--exclude", "sub-02")
    assert status == 0, err
    predicted = pd.read_csv("predicted/predictions.csv", dtype=str)["case_id"]
    assert predicted.nunique() == 13  # neither T2w, nor sub-02 in two sessions; the image in derivatives/ either
    assert "sub-04/anat/sub-04_T1w" in set(predicted)
    assert "are left out (--include *_T1w.nii.gz --exclude sub-02)" in " ".join(err.split())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "images in study end in T1w (15), T2w (7): choose one with --data.suffix"),
        (["--data.suffix", "t1W"], "--data.suffix t1W: images in study end in T1w (15), T2w (7): there are T1w, T2w"),
        (["--data.suffix", "T1w"], "end in dseg (15), label-head_mask (15): choose one with --data.masks"),
        (["--data.suffix", "T1w", "--data.derivatives", "manuel"], "no such folder in study/derivatives: did you mean"),
        (
            ["--data.suffix", "T1w", "--data.derivatives", "preproc"],
            "no masks of subjects in study/derivatives/preproc",
        ),
        (["--data.suffix", "T1w", "--data.masks", "dseg", "--data.include", "ses-1"], "the nearest is ses-01"),
        (["--data.images", "x"], "--data.images x: no use to Bids: the names of BIDS say it"),
    ],
)
def test_what_is_ambiguous_is_asked_about(flags: list[str], said: str, segment: Run, shared_data: Path) -> None:
    write_study(Path("study"), shared_data)
    status, _, err = segment("fit", *STUDY, *flags, *SMALL, *TINY_UNET)
    assert status == 2
    assert said in one_line(err)


def test_volumes_are_classified_by_a_column_of_the_participants(run: Run, shared_data: Path) -> None:
    write_study(Path("study"), shared_data)
    flags = ["fit", *STUDY, *SMALL, *TINY, "--run_dir", "run"]
    status, _, err = run(*flags, "--data.suffix", "T1w")
    assert status == 2
    assert "the columns of the participants are score, group, age, sex: name the one" in one_line(err)
    status, _, err = run(*flags, "--data.suffix", "T1w", "--data.label_columns", "group", "--model.aggregate", "mean")
    assert status == 0, err
    cases = pd.read_csv("run/predictions.csv", dtype=str).set_index("case_id")
    split = pd.read_csv("run/split.csv", dtype=str).set_index("case_id")
    assert len(split) == 15
    assert set(cases["target"]) <= {"control", "patient"}
    # In a session's own table stands what the participant's does not say of it.
    if "sub-01_ses-02_T1w" in cases.index:
        assert cases["target"]["sub-01_ses-02_T1w"] == "patient"


def test_microscopy_is_segmented_and_classified(run_task: Run, shared_data: Path) -> None:
    root = write_microscopy(Path("cells"), shared_data)
    status, _, err = run_task("segment", "fit", "--data", "Bids", "--data.root", root, *TINY_UNET)
    assert status == 2
    assert "a flat image, no volume: give --data BidsImages" in one_line(err)
    status, _, err = run_task(
        "segment", "fit", "--data", "BidsImages", "--data.root", root, *SMALL, *TINY_UNET, "--run_dir", "masks"
    )
    assert status == 0, err
    metrics = json.loads(Path("masks/metrics.json").read_text())
    assert "test/dice/nucleus" in metrics or "test/dice" in metrics
    split = pd.read_csv("masks/split.csv", dtype=str)
    assert set(split["patient_id"]) == {f"sub-m{number}" for number in range(10)}
    assert "sub-m1_sample-B_FLUO" in set(split["case_id"])
    status, _, err = run_task(
        "classify", "fit", "--data", "Bids", "--data.root", root, "--data.label_columns", "species", *SMALL, *TINY,
        "--run_dir", "species",
    )  # fmt: skip
    assert status == 0, err
    status, _, err = run_task(
        "segment",
        "predict",
        "--ckpt_path",
        "masks/checkpoints/best.ckpt",
        "--input",
        root,
        "--output",
        "out",
        "--data.num_workers",
        "0",
    )
    assert status == 0, err
    assert pd.read_csv("out/predictions.csv")["case_id"].nunique() == 15
    assert pd.read_csv("out/passed_over.csv")["reason"].str.contains("BIDS").all()
