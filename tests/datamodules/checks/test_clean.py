"""In the shared data as they are a check finds what is known of them, and no other error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datamodules.base import ScanDataModule
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.medmnist import MedMNIST
from datamodules.detection.coco import Coco
from datamodules.detection.instance_masks import InstanceMasks
from datamodules.detection.voc import Voc
from datamodules.phantoms import boxes, labels, masks
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from tests.datamodules.checks.checking import errors, findings


def check_of(kind: type[ScanDataModule], root: Path, output: Path, **settings: Any) -> pd.DataFrame:
    return findings(kind(str(root), num_workers=0, **settings), output)


def test_chest_xrays_leak_thirty_patients_and_some_are_rgba(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "nih_cxr64"
    found = check_of(ImageFolder, root, tmp_path, patient_pattern=r"(\d+)_\d+\.png$")
    assert {kind for kind, _ in errors(found)} == {"patient_leak"}
    leaks = found[found["kind"] == "patient_leak"]
    assert len(leaks) == 30
    truth = pd.read_csv(root / "labels.csv").groupby("patient_id")["shipped_split"].nunique()
    named = {int(re.findall(r"patient (\d+)", text)[0]) for text in leaks["detail"]}
    assert named == set(truth.index[truth > 1])
    rgba = found[(found["kind"] == "odd_channels") & found["detail"].str.startswith("grey stored as colour with alpha")]
    assert len(rgba) == len(found[found["kind"] == "odd_channels"]) > 0


def test_breastmnist_has_one_image_in_train_and_test(shared_data: Path, tmp_path: Path) -> None:
    found = check_of(MedMNIST, shared_data / "medmnist", tmp_path, name="breastmnist")
    assert errors(found) == set()
    assert list(found["detail"][found["kind"] == "duplicate_leak"]) == ["train/00115 (train) = test/00076 (test)"]
    assert set(found["kind"]) == {"duplicate_leak", "label_conflict", "near_duplicate"}


def test_blood_smears_have_two_empty_boxes(shared_data: Path, tmp_path: Path) -> None:
    found = check_of(Voc, shared_data / "bccd" / "BCCD", tmp_path)
    assert errors(found) == set()
    assert list(found["case_id"][found["kind"] == "box_empty"]) == ["BloodImage_00338", "BloodImage_00343"]
    assert set(found["kind"]) <= {"box_empty", "box_overlap", "box_clipped", "box_tiny", "split_by_image"}


@pytest.mark.parametrize("kind", [MaskFolder, Coco, InstanceMasks])
def test_nuclei_are_clean(kind: type[ScanDataModule], shared_data: Path, tmp_path: Path) -> None:
    settings = {} if kind is Coco else {"masks": "labels"}
    found = check_of(kind, shared_data / "dsb2018_nuclei", tmp_path, **settings)
    assert errors(found) == set()


def test_hippocampi_are_clean(shared_data: Path, tmp_path: Path) -> None:
    found = check_of(Volumes, shared_data / "msd_hippocampus", tmp_path, split_file="splits/hippocampus")
    assert errors(found) == set()


@pytest.mark.parametrize("kind", [labels.Phantoms, masks.Phantoms, boxes.Phantoms])
def test_phantoms_are_clean(kind: type[ScanDataModule], tmp_path: Path) -> None:
    found = check_of(kind, Path(), tmp_path, num_patients=24)
    assert errors(found) == set()
    assert set(found["kind"]) <= {"class_rare", "class_absent", "specks", "no_boxes", "box_tiny"}
