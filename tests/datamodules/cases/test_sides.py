"""Classes with sides are not mirrored."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from datamodules.cases.sides import sided_names
from datamodules.classification.image_folder import ImageFolder
from datamodules.detection.coco import Coco
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.transforms.names import PRESETS, AugmentArgs
from scansuite.errors import SuiteError
from tasks.segment.task import SegmentationTask
from tests.datamodules.cases.test_class_names import coco_of, masks_of
from tests.datamodules.scans_on_disk import write_scans


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize(
    "names",
    [
        ["hippocampus_left", "hippocampus_right"],
        ["background", "left kidney"],  # its other side is not labelled, but is in the image
        ["LeftLung", "RightLung"],
        ["leftVentricle", "myocardium"],
        ["femur-left", "liver"],
        ["L_femur", "R_femur"],
        ["L_femur", "tibia"],
        ["kidney_l", "kidney_r"],
        ["kidney (R)", "spleen"],
        ["lt kidney", "rt kidney"],
        ["lt kidney", "liver"],
        ["lh.cortex", "rh.cortex"],
        ["FemurL", "FemurR"],
        ["L", "R"],
        ["L1", "L2", "R1"],  # segments of the lungs
        ["Niere links", "Niere rechts"],
        ["rein gauche", "rein droit"],
        ["left-sided effusion", "none"],
        ["right", "left", "wrong side"],
    ],
)
def test_names_that_tell_left_from_right(names: list[str]) -> None:
    assert sided_names(names)


@pytest.mark.parametrize(
    "names",
    [
        ["background", "foreground"],
        ["benign", "malignant"],
        ["upright", "supine"],
        ["bright", "dark"],
        ["cleft palate", "copyright", "fright"],
        ["left-over contrast", "leftover"],
        ["right angle", "right-angled"],
        ["left shift", "toxic granulation"],
        ["right", "wrong"],
        ["R", "S"],  # resistant, susceptible
        ["L1", "L2", "L3", "S1"],
        ["vertebrae_L1", "vertebrae_L2"],
        ["type L", "type R2"],
        ["grade_r", "grade_s"],
        ["RBC", "WBC", "Platelets"],
        ["LV", "RV", "MYO"],
        ["RNase", "LDose"],
        ["lymph node", "renal cyst"],
        ["pre RT", "post-RT"],
        ["LH", "FSH"],
        ["Anterior", "Posterior"],
        ["0", "1"],
    ],
)
def test_names_that_do_not(names: list[str]) -> None:
    assert sided_names(names) == []


def folder_of(root: Path, *classes: str) -> str:
    write_scans(root, [f"{name}/{number}.png" for name in classes for number in range(6)])
    return str(root)


def steps_of(data: Any) -> str:
    return repr(data.build_augmentation())


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_no_preset_mirrors_classes_with_sides(preset: str, tmp_path: Path) -> None:
    """``light`` mirrored left kidneys and went on calling them left."""
    root = folder_of(tmp_path, "kidney_left", "kidney_right")
    settings: dict[str, Any] = {"augment": preset, "folds": 3, "channels": 1, "image_size": 16}
    assert "Flip" not in steps_of(ImageFolder(root, **settings))
    allowed = steps_of(ImageFolder(root, sided=False, **settings))
    assert ("Flip" in allowed) == (preset not in ("xray", "ct"))


def test_what_is_left_out_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = ImageFolder(folder_of(tmp_path, "kidney_left", "kidney_right"), folds=3)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            data.build_augmentation()
    said = [record.getMessage() for record in caplog.records if "mirrored" in record.getMessage()]
    assert said == [
        "no image is mirrored in training: classes have sides (kidney_left, kidney_right); --data.sided false allows it"
    ]


def test_the_user_says_of_classes_without_a_word_for_it_that_they_have_sides(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "a", "b")
    assert "Flip" in steps_of(ImageFolder(root, folds=3))
    assert "Flip" not in steps_of(ImageFolder(root, folds=3, sided=True))


@pytest.mark.parametrize(
    ("args", "flag"),
    [
        (AugmentArgs(horizontal_flip=True), "horizontal_flip"),
        (AugmentArgs(vertical_flip=True), "vertical_flip"),
        (AugmentArgs(transforms=[{"class_path": "albumentations.HorizontalFlip"}]), r"transforms \(HorizontalFlip\)"),
        (
            AugmentArgs(transforms=[{"class_path": "OneOf", "init_args": {"transforms": [{"class_path": "D4"}]}}]),
            r"transforms \(D4\)",
        ),
    ],
)
def test_mirrors_that_are_asked_for_are_refused(args: AugmentArgs, flag: str, tmp_path: Path) -> None:
    data = ImageFolder(folder_of(tmp_path, "kidney_left", "kidney_right"), folds=3, augment_args=args)
    with pytest.raises(SuiteError, match=rf"--data\.augment_args\.{flag} mirrors images, .*--data\.sided false"):
        data.build_augmentation()


def test_masks_and_boxes_with_sides_are_not_mirrored_either(tmp_path: Path) -> None:
    masks = masks_of(tmp_path / "masks", [[0, 1, 2, 0]] * 6)
    data = MaskFolder(str(masks), classes=["background", "L_femur", "R_femur"])
    assert data.has_sides
    assert "Flip" not in steps_of(data)
    boxes = coco_of(tmp_path / "boxes", ["lt kidney", "rt kidney"] * 6)
    assert "Flip" not in steps_of(Coco(str(boxes), folds=3))
    with pytest.raises(SuiteError, match=r"--data\.mosaic 0\.5 puts images side by side, .*--data\.sided false"):
        Coco(str(boxes), folds=3, mosaic=0.5).build_augmentation()
    assert "Flip" in steps_of(Coco(str(boxes), folds=3, mosaic=0.5, sided=False))


def test_views_of_an_evaluated_image_are_no_mirror_images(caplog: pytest.LogCaptureFixture) -> None:
    names = ["background", "L_femur", "R_femur"]
    settings: dict[str, Any] = {"backbone": "resnet10t", "tta": "flips", "num_classes": 3, "class_names": names}
    with pytest.raises(SuiteError, match=r"--model\.tta flips mirrors images, but classes have sides"):
        SegmentationTask(has_sides=True, **settings)
    assert SegmentationTask(has_sides=False, **settings).tta == "flips"
    assert not caplog.records
    assert SegmentationTask(**settings).tta == "flips"  # a model of before: it goes on, and it is said
    assert "classes of this model have sides: L_femur, R_femur" in caplog.records[-1].getMessage()
