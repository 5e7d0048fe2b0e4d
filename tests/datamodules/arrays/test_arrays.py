"""Arrays train the three tasks as files do: patients in one part, nothing identical in two, mistakes in a line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer

from datamodules.arrays.boxes import BoxedArrays
from datamodules.arrays.choose import Arrays
from datamodules.arrays.labels import LabelledArrays
from datamodules.arrays.masks import MaskedArrays
from datamodules.base import ScanDataModule
from datamodules.types import Draw
from scansuite.errors import SuiteError
from tasks.classify.task import ClassificationTask
from tasks.detect.task import DetectionTask
from tasks.segment.task import SegmentationTask

N, SIDE = 24, 32
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, SIDE, SIDE), dtype=np.uint8)
LABELS = np.arange(N) % 2
PATIENTS = np.arange(N) // 4
MASKS = np.zeros((N, SIDE, SIDE), np.int64)
MASKS[:, 4:12, 6:20] = 1
MASKS[:, 20:28, 2:9] = 2
BOXES = [np.array([[4, 5, 14, 16], [20, 2, 30, 12]][: number % 3], np.float64).reshape(-1, 4) for number in range(N)]
QUICK: dict[str, Any] = {"num_workers": 0, "batch_size": 8, "folds": 3}


def fitted(model: LightningModule, data: ScanDataModule) -> dict[str, Any]:
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    return dict(trainer.callback_metrics)


def facts(data: Any) -> dict[str, Any]:
    return {"num_classes": data.num_classes, "in_channels": data.in_channels, "input_size": data.input_size}


def test_classification_from_arrays() -> None:
    named = {"class_names": ["benign", "malignant"]}
    data: Any = Arrays(IMAGES, LABELS, patients=PATIENTS, augment="strong", **named, **QUICK)
    assert isinstance(data, LabelledArrays)
    assert (data.class_names, data.target, data.in_channels) == (["benign", "malignant"], "binary", 1)
    assert "test/auroc" in fitted(ClassificationTask("small_cnn", **facts(data)), data)
    parts = data.table.cases.groupby("patient_id")["split"].nunique()
    assert (len(parts), parts.max()) == (6, 1)
    assert set(data.table.cases["split"]) == {"train", "val", "test"}


def test_segmentation_from_arrays() -> None:
    data: Any = Arrays(torch.from_numpy(IMAGES), masks=torch.from_numpy(MASKS), classes=["bg", "a", "b"], **QUICK)
    assert isinstance(data, MaskedArrays)
    assert data.class_names == ["bg", "a", "b"]
    assert "test/dice" in fitted(SegmentationTask("resnet10t", **facts(data)), data)
    sample = data.dataset(np.arange(N))[5]
    np.testing.assert_array_equal(sample["mask"], MASKS[5])
    np.testing.assert_allclose(sample["image"][0], IMAGES[5] / 255, atol=1e-6)


def test_detection_from_arrays() -> None:
    labels = [np.arange(len(boxes)) for boxes in BOXES]
    data: Any = Arrays(IMAGES, boxes=BOXES, labels=labels, classes=["x", "y"], patients=PATIENTS, mosaic=0.5, **QUICK)
    assert isinstance(data, BoxedArrays)
    assert data.class_names == ["x", "y"]
    assert "test/map" in fitted(DetectionTask("resnet10t", channels=32, **facts(data)), data)
    rows = {name: row for row, name in enumerate(data.table.cases["case_id"])}
    dataset = data.dataset(np.arange(N))
    for number in range(N):  # cases are sorted by name, in which 10 comes before 2
        sample = dataset[rows[str(number)]]
        assert sample["boxes"].tolist() == BOXES[number].tolist()
        np.testing.assert_allclose(sample["image"][0], IMAGES[number] / 255, atol=1e-6)


def test_classes_of_boxes_without_names_are_their_numbers_in_order() -> None:
    labels = [[10 if place else 2] for place in range(2)]
    boxes = [torch.tensor([[1.0, 2, 8, 9]])] * 2
    assert Arrays(IMAGES[:2], boxes=boxes, labels=labels, split="all_test", **QUICK).class_names == ["2", "10"]
    assert Arrays(IMAGES[:2], boxes=boxes, split="all_test", **QUICK).class_names == ["object"]


@pytest.mark.parametrize("first", [False, True])
def test_channels_are_found_on_either_side(first: bool) -> None:
    colour = RNG.random((N, SIDE, 40, 3), dtype=np.float32)
    given = colour.transpose(0, 3, 1, 2) if first else colour
    for images in (given, torch.from_numpy(given.copy()), list(given)):
        data = Arrays(images, LABELS, augment="none", **QUICK, image_size=[SIDE, 40])
        assert data.in_channels == 3
        image = data.dataset(np.arange(N))[Draw(7)]["image"]
        np.testing.assert_allclose(image.permute(1, 2, 0), colour[7], atol=1e-6)


def test_images_of_any_size_channels_that_are_no_alpha_and_a_split_of_ones_own() -> None:
    images = [RNG.integers(0, 4096, (20 + number, 30, 2)).astype(np.uint16) for number in range(N)]
    parts = ["train"] * 12 + ["valid"] * 6 + ["test"] * 6
    names = [f"case {number}" for number in range(N)]
    data = Arrays(
        images, LABELS, case_ids=names, parts=parts, image_size=24, value_range=[0, 4095], cache="memory", **QUICK
    )
    assert data.in_channels == 2
    assert data.table.cases["split"].tolist() == ["train"] * 12 + ["val"] * 6 + ["test"] * 6
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (6, 2, 24, 24)
    assert [scan["case_id"] for scan in batch["scan"]] == names[12:18]
    assert batch["scan"][0]["original_size"] == (32, 30)


def test_several_labels_numbers_and_overlapping_masks() -> None:
    several = np.stack([LABELS, 1 - LABELS, np.where(np.arange(N) == 3, np.nan, LABELS)], axis=1)
    data = Arrays(IMAGES, several, class_names=["a", "b", "c"], **QUICK)
    assert (data.target, data.class_names) == ("multilabel", ["a", "b", "c"])
    np.testing.assert_array_equal(data.targets.values, several.astype(np.float32))
    data = Arrays(IMAGES, np.linspace(0, 1, N), target="regression", **QUICK)
    assert data.target == "regression"
    planes = np.stack([MASKS == 1, MASKS > 0], axis=1)
    overlapping = Arrays(IMAGES, masks=planes, classes=["core", "all"], **QUICK)
    assert (overlapping.class_names, overlapping.overlapping) == (["core", "all"], True)
    np.testing.assert_array_equal(overlapping.dataset(np.arange(N))[3]["mask"], planes[3])
    numbers = Arrays(IMAGES, masks=np.where(MASKS == 2, 7, MASKS).astype(np.uint8), ignore_value=7, **QUICK)
    assert (numbers.class_names, numbers.ignore_index) == (["background", "1"], 255)


def test_identical_images_are_never_in_two_parts() -> None:
    twins = IMAGES.copy()
    twins[1::2] = twins[::2]
    data = Arrays(twins, np.arange(N) // 2 % 2, **QUICK)
    split = data.table.cases["split"].to_numpy()
    assert (split[1::2] == split[::2]).all()
    parts = ["train", "val"] * (N // 2)
    with pytest.raises(SuiteError, match="identical") as caught:
        _ = Arrays(twins, np.arange(N) // 2 % 2, parts=parts, **QUICK).table
    assert "\n" not in str(caught.value)
    with pytest.raises(SuiteError, match="patient"):
        _ = Arrays(IMAGES, np.arange(N) // 2 % 2, parts=parts, patients=PATIENTS, **QUICK).table


def with_nan(images: NDArray[Any]) -> NDArray[Any]:
    wrong = images / np.float32(255)
    wrong[5, 3, 3] = np.nan
    return wrong


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, r"Arrays: give labels .* masks .* or boxes"),
        ({"labels": LABELS, "masks": MASKS}, "Arrays: masks are of segmentation"),
        ({"images": with_nan(IMAGES), "labels": LABELS}, "image 5 has NaN or infinite values"),
        ({"images": IMAGES[0, 0], "labels": LABELS}, r"image 0 has shape \(\) .*expected numbers \(N, H, W\)"),
        ({"images": np.zeros((N, 2, 8, 8, 3)), "labels": LABELS}, r"image 0 has shape \(2, 8, 8, 3\)"),
        ({"images": np.zeros((N, 3, 8, 3)), "labels": LABELS}, r"the first axis or the last .*say channels_first"),
        ({"images": np.zeros((N, 9, 8, 7)), "labels": LABELS}, r"no axis has 1 to 4 channels: say channels_first"),
        ({"images": np.zeros((N, 8, 8), complex), "labels": LABELS}, "type complex128"),
        ({"images": [], "labels": []}, "images: there are none"),
        ({"images": "scans/", "labels": LABELS}, "images: expected an array .* not str"),
        ({"labels": LABELS[:5]}, "labels: 5 for 24 images"),
        ({"labels": np.zeros((N, 2, 2))}, r"labels: shape \(24, 2, 2\)"),
        ({"labels": np.where(LABELS, np.nan, 1.0)}, "labels: that of image 1 is missing"),
        ({"labels": LABELS * 2, "class_names": ["a", "b"]}, "labels: that of image 1 is 2, but class_names has 2"),
        ({"labels": np.zeros((N, 3)), "class_names": ["a", "b"]}, "class_names: 2 names for 3 labels"),
        ({"labels": LABELS, "patients": 3}, "patients: expected a list or an array with one for each image, not int"),
        ({"labels": LABELS, "patients": "a" * N}, "patients: expected a list .* not str"),
        ({"labels": LABELS, "patients": PATIENTS[:3]}, "patients: 3 for 24 images"),
        ({"labels": LABELS, "parts": ["train"] * 23 + ["judge"]}, "split 'judge' in row 24"),
        ({"labels": LABELS, "case_ids": ["a"] * N}, "case_ids: that of image 1 is empty or a duplicate"),
        ({"masks": MASKS[:, :9]}, r"masks: that of image 0 has shape \(9, 32\), but should have \(32, 32\)"),
        ({"masks": MASKS[:4]}, "masks: 4 for 24 images"),
        ({"masks": MASKS / 2}, "masks: image 0.*fraction|masks: image 0.*whole"),
        ({"masks": MASKS, "classes": ["bg", "a"]}, r"masks: image 0: unknown label value 2"),
        ({"masks": -MASKS}, "masks: -2 is no class number"),
        ({"masks": np.stack([MASKS] * 2, axis=1)}, r"masks: image 0: unknown label value 2"),
        ({"boxes": [np.zeros((1, 5))] * N}, r"boxes: those of image 0 have shape \(1, 5\)"),
        ({"boxes": [np.full((1, 4), np.inf)] * N}, "boxes: one of image 0 is NaN or infinite"),
        ({"boxes": [box / SIDE for box in BOXES]}, "boxes: all lie between 0 and 1: give .* in pixels"),
        (
            {"boxes": BOXES, "labels": [[None] * len(box) for box in BOXES]},
            "labels: that of a box of image 1 is miss",
        ),
        ({"boxes": BOXES, "labels": [[np.nan] * len(box) for box in BOXES]}, "labels: that of a box .* is missing"),
        ({"boxes": [[]] * N}, "boxes: no image has one: name the classes"),
        ({"masks": MASKS * 0}, "masks: all are background: name the classes"),
        ({"boxes": BOXES[:3]}, "boxes: 3 for 24 images"),
        ({"boxes": BOXES, "labels": [[0]] * N}, "labels: 1 for the 0 boxes of image 0"),
        ({"boxes": [[[1, 1, 4, 4]]] * N, "labels": [[3]] * N, "classes": ["a"]}, "is of class 3, but classes has 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SuiteError, match=says) as caught:
        Arrays(**{"images": IMAGES, **QUICK, **given})
    assert "\n" not in str(caught.value)


def test_patients_may_be_unknown_and_are_names_whatever_their_type() -> None:
    patients: list[Any] = [None if number == 4 else float(number // 4) for number in range(N)]
    cases = Arrays(IMAGES, LABELS, patients=patients, **QUICK).table.cases
    assert pd.isna(cases["patient_id"][4])
    assert cases["patient_id"][8] == "2"


def test_whole_numbers_name_classes_whatever_their_type() -> None:
    for labels in (LABELS.astype(np.float64), LABELS.astype(bool), torch.from_numpy(LABELS).float()):
        data: Any = Arrays(IMAGES, labels, class_names=["dark", "bright"], **QUICK)
        assert data.cases["label"].tolist() == ["dark", "bright"] * (N // 2)


def test_bfloat16_and_tuples_are_taken() -> None:
    images = torch.from_numpy(IMAGES).bfloat16()
    data: Any = Arrays(images, LABELS, value_range=(0, 256), image_size=(16, 24), **QUICK)
    assert data.preprocess.value_range == (0, 256)
    assert data.dataset(np.arange(2))[0]["image"].shape == (1, 16, 24)
    with_numpy: Any = Arrays(IMAGES, LABELS, percentiles=np.array([1, 99]), image_size=np.int64(16), **QUICK)
    assert with_numpy.preprocess.percentiles == (1, 99)
    assert with_numpy.preprocess.size == (16, 16)


def test_whole_numbers_of_boxes_are_classes_whatever_their_type() -> None:
    data: Any = Arrays(IMAGES, boxes=BOXES, labels=[np.arange(len(box), dtype=np.float64) for box in BOXES], **QUICK)
    assert data.class_names == ["0", "1"]
