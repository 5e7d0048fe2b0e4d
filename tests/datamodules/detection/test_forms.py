"""The same boxes in four forms are the same data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from datamodules.detection.base import DetectionData
from datamodules.detection.box_table import BoxTable
from datamodules.detection.coco import Coco
from datamodules.detection.voc import Voc
from datamodules.detection.yolo import Yolo
from tests.datamodules.boxes_on_disk import (
    CLASSES,
    Picture,
    expected,
    pictures,
    truth_of,
    write_box_table,
    write_coco,
    write_voc,
    write_yolo,
)

Write = Callable[[Path, list[Picture]], Path]
FORMS: dict[str, tuple[type[DetectionData], Write]] = {
    "coco": (Coco, write_coco),
    "voc": (Voc, write_voc),
    "yolo": (Yolo, write_yolo),
    "table": (BoxTable, write_box_table),
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def read(form: str, root: Path, some: list[Picture], **settings: Any) -> DetectionData:
    kind, write = FORMS[form]
    return kind(str(write(root / form, some)), **{"num_workers": 0, "batch_size": 3, **settings})


@pytest.mark.parametrize("form", FORMS)
def test_the_table_is_what_was_written(form: str, tmp_path: Path) -> None:
    some = pictures()
    data = read(form, tmp_path, some)
    assert (data.class_names, data.num_classes, data.table.published_split) == (CLASSES, 2, form != "table")
    assert data.table.cases["case_id"].tolist() == sorted(one.name for one in some)
    pd.testing.assert_frame_equal(truth_of(data), expected(some), rtol=0, atol=1e-9)
    assert len(data.rows("train")) == 6  # those without boxes too


@pytest.mark.parametrize("form", ["coco", "voc", "table"])
def test_ignored_boxes_are_in_the_truth_and_not_in_training(form: str, tmp_path: Path) -> None:
    some = pictures(ignored=True)
    data = read(form, tmp_path, some)
    truth = truth_of(data)
    pd.testing.assert_frame_equal(truth, expected(some, difficult=form == "voc"))
    assert truth["ignore"].any()
    for case in range(len(data.table)):
        name = data.table.cases["case_id"][case]
        assert len(data.boxes_of(case)[0]) == (~truth["ignore"][truth["case_id"] == name]).sum()


@pytest.mark.parametrize("mosaic", [0.0, 0.7])
def test_all_forms_give_the_same_training_batches(mosaic: float, tmp_path: Path) -> None:
    some = pictures()
    loaders = []
    for form in FORMS:
        data = read(form, tmp_path, some, augment="medium", image_size="32,40", mosaic=mosaic)
        loaders.append(list(data.train_dataloader()))
    for batches in zip(*loaders, strict=True):
        for batch in batches[1:]:
            torch.testing.assert_close(batch["image"], batches[0]["image"], rtol=0, atol=0)
            assert [scan["case_id"] for scan in batch["scan"]] == [scan["case_id"] for scan in batches[0]["scan"]]
            for ours, theirs in zip(batch["boxes"], batches[0]["boxes"], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
            for ours, theirs in zip(batch["labels"], batches[0]["labels"], strict=True):
                assert ours.tolist() == theirs.tolist()


def test_all_forms_give_the_same_facts(tmp_path: Path) -> None:
    some = pictures()
    every = [read(form, tmp_path, some) for form in FORMS]
    first = every[0]
    for data in every[1:]:
        assert (data.input_size, data.in_channels, data.max_detections, data.preprocess) == (
            first.input_size, first.in_channels, first.max_detections, first.preprocess,
        )  # fmt: skip
        np.testing.assert_allclose(data.box_sizes, first.box_sizes, atol=1e-9)
        np.testing.assert_array_equal(data.strata(data.table), first.strata(first.table))
