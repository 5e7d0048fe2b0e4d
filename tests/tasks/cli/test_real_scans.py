"""The command line on real scans; skipped where they are absent."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.tasks.cli.conftest import TINY, Run

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
    figures = json.loads(Path("run/metrics.json").read_text())
    assert {f"test/auroc/{name}" for name in names} <= figures.keys()
    assert figures["test/auroc"]["n"] == (split["split"] == "test").sum()
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
    figures = json.loads(Path("run/metrics.json").read_text())
    assert figures["split/images_in_two_parts"]["value"] == 1
    assert figures["test/auroc"]["n"] == 156
