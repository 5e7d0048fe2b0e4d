"""The command line on real scans; skipped where they are absent."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.tasks.cli.conftest import TINY, Run
from tests.tasks.cli.test_segment import TINY_UNET

FINDINGS = (
    "Atelectasis,Cardiomegaly,Effusion,Infiltration,Mass,Nodule,Pneumonia,Pneumothorax,Consolidation,Edema,Emphysema,"
    "Fibrosis,Pleural_Thickening,Hernia"
)


@pytest.mark.parametrize(
    ("columns", "names"),
    [(FINDINGS, FINDINGS.split(",")), ("shipped_class", ["0_normal", "1_abnormal"])],
    ids=["multilabel", "binary"],
)
def test_chest_radiographs_train_with_patients_kept_together(
    run: Run, shared_data: Path, columns: str, names: list[str]
) -> None:
    root = shared_data / "nih_cxr64"
    status, _, err = run(
        "fit", "--data", "ImageTable", "--data.root", root, "--data.label_columns", columns, *TINY,
        "--data.patient_column", "patient_id", "--data.batch_size", "64", "--run_dir", "run",
    )  # fmt: skip
    assert status == 0, err
    split = pd.read_csv("run/split.csv", dtype=str)
    assert len(split) == 1000
    assert split["patient_id"].nunique() == 264
    assert split.groupby("patient_id")["split"].nunique().max() == 1
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert {f"test/auroc/{name}" for name in names} <= metrics.keys()
    assert metrics["test/auroc"]["n"] == (split["split"] == "test").sum()
    cases = pd.read_csv("run/cases.csv")
    assert {"patient_age", "patient_sex", "view_position"} <= set(cases)


def test_the_shipped_folders_of_the_radiographs_are_refused(run: Run, shared_data: Path) -> None:
    root = shared_data / "nih_cxr64"
    status, _, err = run(
        "fit", "--data", "ImageFolder", "--data.root", root, "--data.patient_pattern", r"(\d+)_\d+\.png$", *TINY
    )
    assert status == 2
    assert "30 patients stand in more than one part" in err
    assert "00000116 (train and val)" in err


def test_the_medmnist_experiment_runs_and_notes_the_image_in_two_parts(run: Run, shared_data: Path) -> None:
    status, _, err = run(
        "fit", "--config", "configs/experiment/medmnist.yaml", "--data.root", shared_data / "medmnist", "--data.name",
        "breastmnist", *TINY, "--run_dir", "run",
    )  # fmt: skip
    assert status == 0, err
    assert "train/00115 (train) = test/00076 (test)" in err
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["split/images_in_two_parts"]["value"] == 1
    assert metrics["test/auroc"]["n"] == 156


def test_hippocampi_are_evaluated_by_volume_on_the_fixed_cases(run_task: Run, shared_data: Path) -> None:
    status, _, err = run_task(
        "segment", "fit", "--config", "experiment/hippocampus", "--data.root", shared_data / "msd_hippocampus",
        *TINY_UNET, "--model.weights", "null", "--data.spacing", "null", "--data.image_size", "32",
        "--trainer.limit_train_batches", "4", "--trainer.limit_val_batches", "2", "--run_dir", "run",
    )  # fmt: skip
    assert status == 0, err
    split = pd.read_csv("run/split.csv", dtype=str)
    names = sorted(split["case_id"])
    assert sorted(split["case_id"][split["split"] == "test"]) == names[-40:]
    predictions = pd.read_csv("run/predictions.csv")
    tested = predictions[predictions["split"] == "test"]
    assert len(tested) == 80
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["test/dice"]["n"] == 40
    assert metrics["test/dice"]["value"] == pytest.approx(tested.groupby("class")["dice"].mean().mean())


def test_nuclei_as_masks_and_as_boxes(run_task: Run, shared_data: Path) -> None:
    root = shared_data / "dsb2018_nuclei"
    few = ["--data.batch_size", "4", "--trainer.limit_train_batches", "3", "--trainer.limit_val_batches", "2"]
    status, _, err = run_task(
        "segment", "fit", "--config", "experiment/nuclei", "--data.root", root, *TINY_UNET, "--model.weights", "null",
        "--model.tta", "none", *few, "--data.patch_size", "128", "--model.overlap", "0", "--run_dir", "masks",
    )  # fmt: skip
    assert status == 0, err
    cases = pd.read_csv("masks/cases.csv")
    names = sorted(path.stem for path in (root / "images").iterdir())
    assert sorted(cases["case_id"][cases["split"] == "test"]) == names[::5]
    assert "test/lesion_f1" in json.loads(Path("masks/metrics.json").read_text())

    status, _, err = run_task(
        "detect", "fit", "--data", "Coco", "--data.root", root, *TINY, "--model.channels", "16", *few,
        "--data.patch_size", "128", "--data.split_file", "splits/nuclei", "--run_dir", "boxes",
    )  # fmt: skip
    assert status == 0, err
    targets, cases = pd.read_csv("boxes/targets.csv"), pd.read_csv("boxes/cases.csv")
    assert sorted(cases["case_id"][cases["split"] == "test"]) == names[::5]
    assert cases["width"].nunique() > 3
    assert targets.groupby("case_id").size().max() > 100
    model = torch.load("boxes/checkpoints/best.ckpt", weights_only=True)["hyper_parameters"]
    assert model["max_detections"] > 150
    metrics = json.loads(Path("boxes/metrics.json").read_text())
    assert {"test/map", "test/map@100", "test/froc"} <= metrics.keys()


def test_blood_cells_in_their_official_split(run_task: Run, shared_data: Path) -> None:
    status, _, err = run_task(
        "detect", "fit", "--config", "experiment/bccd", "--data.root", shared_data / "bccd" / "BCCD", *TINY,
        "--model.weights", "null", "--model.channels", "16", "--data.image_size", "60,80", "--run_dir", "run",
        "--trainer.limit_train_batches", "3", "--trainer.limit_val_batches", "2",
    )  # fmt: skip
    assert status == 0, err
    assert "BloodImage_00338" in err  # the first of two boxes without area
    split = pd.read_csv("run/split.csv")["split"].value_counts()
    assert split.to_dict() == {"train": 205, "val": 87, "test": 72}
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert {f"test/map50/{name}" for name in ("RBC", "WBC", "Platelets")} <= metrics.keys()
    assert metrics["test/map"]["n"] == 72
