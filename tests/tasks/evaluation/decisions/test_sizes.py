"""Performance by size against what is counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.decisions.sizes import COCO_SIDES, masks_of, true_boxes_of
from tasks.evaluation.detection.matching import match_one
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.task_file import RunTask
from tests.tasks.evaluation.decisions.runs import box_run


def masks(spacing: object = "0.5 0.5 4", cases: int = 60) -> PartTables:
    """Two patients' worth of small livers, missed more often than large ones."""
    generator = np.random.default_rng(0)
    true = generator.integers(10, 4000, cases) * (np.arange(cases) % 10 > 0)
    tp = np.where(true < 800, true // 2, true * 9 // 10)
    fp = generator.integers(0, 50, cases)
    ids = [f"c{number}" for number in range(cases)]
    dice = 2 * tp / np.maximum(1, 2 * tp + fp + true - tp)
    table = pd.DataFrame({"case_id": ids, "split": "test", "class": "liver", "tp": tp, "fp": fp, "fn": true - tp})
    table["dice"] = np.where(true + fp > 0, dice, np.nan)
    table["lesion_sensitivity"] = np.where(true > 0, tp / np.maximum(true, 1), np.nan)
    patients = [f"p{number // 2}" for number in range(cases)]
    where = pd.DataFrame({"case_id": ids, "patient_id": patients, "split": "test", "spacing": spacing})
    return PartTables(RunTask("segment", ["background", "liver"], {}), "test", where, table)


def test_masks_have_volumes_where_the_spacing_is_known() -> None:
    (own,) = masks_of(masks())
    table = masks().predictions
    assert own.unit == "mL"
    np.testing.assert_allclose(own.true, (table["tp"] + table["fn"]) * 0.001)
    np.testing.assert_allclose(own.predicted, (table["tp"] + table["fp"]) * 0.001)
    (flat,) = masks_of(masks("2 3"))
    assert flat.unit == "mm²"
    np.testing.assert_allclose(flat.true, (table["tp"] + table["fn"]) * 6)


@pytest.mark.parametrize("spacing", [None, "one two three", ["1 1"] + ["1 1 1"] * 59, [None] + ["1 1 1"] * 59, "0 1 1"])
def test_sizes_are_counts_where_a_spacing_is_not_known(spacing: object) -> None:
    (own,) = masks_of(masks(spacing))
    assert own.unit == "voxels"
    assert own.true.max() > 1000


def test_bands_are_thirds_and_their_means() -> None:
    (own,) = masks_of(masks())
    bands = own.bands("dice", 200)
    assert [band.name for band in bands] == ["smallest third", "middle third", "largest third"]
    there = own.true > 0
    for number, band in enumerate(bands):
        inside = there & (own.true >= band.low)
        inside &= own.true <= band.high if number == 2 else own.true < band.high
        assert band.value.value == pytest.approx(own.metrics["dice"][inside].mean())
        assert band.value.n == inside.sum() == 18
        assert band.value.low < band.value.value < band.value.high
    assert bands[0].value.high < bands[2].value.low
    assert own.bands("lesion_sensitivity", 100)[0].value.value < 0.8


def test_masks_of_one_size_are_one_band() -> None:
    part = masks()
    table = part.predictions.assign(tp=100, fn=0, fp=0, dice=1.0)
    (own,) = masks_of(PartTables(part.task, "test", part.cases, table))
    (band,) = own.bands("dice", 100)
    assert (band.name, band.value.n) == ("all", 60)
    assert masks_of(PartTables(part.task, "test", part.cases, table.drop(columns="fn"))) == []


def test_boxes_are_found_as_one_by_one() -> None:
    part = box_run(1).part("test")
    boxes = true_boxes_of(part)
    assert boxes is not None
    assert boxes.unit == "mm"
    assert part.targets is not None
    corners = ["x1", "y1", "x2", "y2"]
    counted = []
    for (case, label), own in part.targets.groupby(["case_id", "label"], sort=False):
        calls = part.predictions[(part.predictions["case_id"] == case) & (part.predictions["label"] == label)]
        calls = calls[calls["score"] >= part.task.operating_points[str(label)]].sort_values("score", ascending=False)
        none = np.zeros(len(own), dtype=bool)
        taken, _ = match_one(own[corners].to_numpy(), none, none, calls[corners].to_numpy(), 0.5)
        counted.append(pd.Series(np.isin(np.arange(len(own)), taken), index=own.index))
    np.testing.assert_array_equal(boxes.found, pd.concat(counted).sort_index())
    size = np.sqrt((part.targets["x2"] - part.targets["x1"]) * (part.targets["y2"] - part.targets["y1"]))
    np.testing.assert_allclose(boxes.side, size)
    np.testing.assert_allclose(boxes.length, size / 2)


def test_bands_of_boxes_add_up_to_the_sensitivity() -> None:
    part = box_run(3).part("test")
    boxes = true_boxes_of(part)
    assert boxes is not None
    metrics = part.metrics(0)
    for number, name in enumerate(boxes.class_names):
        own = boxes.of(number)
        assert own.found.mean() == pytest.approx(metrics[f"sensitivity@op/{name}"].value)
        for bands in (own.by_length(), own.by_side(), own.by_shape()):
            assert sum(band.value.positives or 0 for band in bands) == len(own.found)
    assert [band.name for band in boxes.by_side()] == list(COCO_SIDES)


def test_without_true_boxes_nothing_is_said() -> None:
    part = box_run().part("test")
    assert part.targets is not None
    assert true_boxes_of(PartTables(part.task, "test", part.cases, part.predictions, part.targets[:0])) is None
