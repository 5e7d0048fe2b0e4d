"""The rules by which a table of boxes is made tidy, and boxes on crops."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from datamodules.detection.boxes import CORNERS, BoxesByCase, RawBoxes, tidy_boxes
from datamodules.samples.box_geometry import areas, cropped, scaled
from scansuite.errors import SuiteError

SIZES = np.array([[20, 30], [20, 30]])
WHERE = ["a.xml", "b.xml"]
Corners = tuple[float, float, float, float]


def raw(*boxes: tuple[int, str, Corners]) -> RawBoxes:
    made = RawBoxes()
    for case, label, corners in boxes:
        made.add(case, label, corners, WHERE[case])
    return made


@pytest.mark.parametrize(
    ("corners", "kept", "said"),
    [
        ((5, 5, 10, 10), (5, 5, 10, 10), None),
        ((0, 0, 30, 20), (0, 0, 30, 20), None),
        ((-3, 5, 10, 25), (0, 5, 10, 20), "1 boxes partly outside their image are clipped to it"),
        ((30, 5, 35, 10), None, "1 boxes wholly outside their image are dropped"),
        ((-9, -9, -1, -1), None, "1 boxes wholly outside their image are dropped"),
        ((5, 5, 5, 10), None, "1 boxes without width or height are dropped"),
        ((10, 5, 5, 10), None, "1 boxes without width or height are dropped"),
        # As fractions with six digits come back.
        ((5, 5, 30.0001, 10), (5, 5, 30, 10), None),
        ((29.9999, 5, 35, 10), None, "1 boxes wholly outside their image are dropped"),
    ],
)
def test_what_becomes_of_a_box(
    corners: Corners, kept: Corners | None, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        table = tidy_boxes(raw((0, "x", (1, 1, 4, 4)), (1, "x", corners)), SIZES, WHERE)
    assert table[CORNERS].to_numpy().tolist() == [[1, 1, 4, 4], *([list(kept)] if kept is not None else [])]
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ([] if said is None else [f"{said} (in 1 images, the first: b.xml)"])


def test_duplicates_are_kept_once_and_other_classes_stay(caplog: pytest.LogCaptureFixture) -> None:
    same: Corners = (1, 1, 4, 4)
    table = tidy_boxes(
        raw((1, "x", same), (0, "x", same), (0, "y", same), (0, "x", same), (0, "x", (1, 1, 4, 5))), SIZES, WHERE
    )
    assert table[["case", "label"]].to_numpy().tolist() == [[0, "x"], [0, "y"], [0, "x"], [1, "x"]]
    assert "1 boxes that are duplicated are kept once (in 1 images, the first: a.xml)" in caplog.text


def test_each_rule_counts_all_boxes_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    boxes = [(case, "x", (float(number), 3.0, float(number), 9.0)) for case in (1, 0) for number in range(3)]
    assert tidy_boxes(raw(*boxes), SIZES, WHERE).empty
    assert [record.getMessage() for record in caplog.records] == [
        "6 boxes without width or height are dropped (in 2 images, the first: a.xml)"
    ]


def test_no_boxes_at_all_are_a_table_too() -> None:
    table = tidy_boxes(RawBoxes(), SIZES, WHERE)
    assert list(table.columns) == ["case", "label", *CORNERS, "ignore", "difficult"]
    by_case = BoxesByCase(table, np.zeros(0, np.int64), 2)
    assert [(boxes.shape, labels.shape) for boxes, labels in by_case] == [((0, 4), (0,))] * 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_coordinates_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(SuiteError, match=r"^b\.xml: a box of 'x' has coordinates that are NaN or infinite"):
        raw((1, "x", (1, value, 4, 4)))


def test_boxes_follow_a_crop() -> None:
    boxes = np.array([[2, 2, 6, 6], [0, 0, 3, 3], [0, 0, 20, 20], [8, 8, 9, 9], [9, 2, 19, 3]], np.float64)
    seen, kept = cropped(boxes, top=2, left=2, size=(8, 8))
    # The second shows a ninth of itself, the last a tenth, which is just enough.
    assert kept.tolist() == [True, True, True, True, True]
    assert seen.tolist() == [[0, 0, 4, 4], [0, 0, 1, 1], [0, 0, 8, 8], [6, 6, 7, 7], [7, 0, 8, 1]]
    _, kept = cropped(boxes, top=2, left=2, size=(8, 7))
    assert kept.tolist() == [True, True, True, True, False]
    _, kept = cropped(np.array([[0.0, 0, 10, 10]]), top=7, left=7, size=(8, 8))
    assert kept.tolist() == [False]  # nine of a hundred


def test_scaled_boxes_have_scaled_areas() -> None:
    boxes = np.array([[2.0, 3, 6, 9]])
    wide = scaled(boxes, (10, 20), (5, 60))
    assert wide.tolist() == [[6, 1.5, 18, 4.5]]
    assert areas(wide).tolist() == [24 * 1.5]
