from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.pictures.panels import CLASS_COLOURS, UNKNOWN
from tasks.evaluation.detection.called_boxes import called
from tasks.evaluation.pictures.box_overlays import (
    ShownBoxes,
    box_overlay,
    case_f1,
    pair_boxes,
    write_box_overlays,
)
from tasks.evaluation.pictures.common import FALSE_CALL, MISSED

CLASSES = ["cyst", "mass"]
POINTS = {"cyst": 0.4}


def boxes(*rows: tuple[object, ...], scores: bool = False) -> pd.DataFrame:
    columns = ["case_id", "label", *(["score"] if scores else []), "x1", "y1", "x2", "y2"]
    return pd.DataFrame(list(rows), columns=columns)


TRUE = boxes(
    ("a", "cyst", 10, 10, 30, 30),
    ("a", "mass", 40, 40, 60, 60),
    ("a", "mass", 5, 70, 15, 90),
    ("c", "cyst", 0, 0, 9, 9),
).assign(ignore=[False, False, False, False])
FOUND = boxes(
    ("a", "cyst", 0.9, 12, 10, 30, 30),  # right
    ("a", "cyst", 0.5, 10, 10, 30, 31),  # the same once more: false
    ("a", "cyst", 0.3, 70, 70, 80, 80),  # below the operating point
    ("a", "mass", 0.45, 5, 70, 15, 90),  # below 0.5, where no point was chosen
    ("a", "cyst", 0.8, 40, 40, 60, 60),  # wrong class
    scores=True,
)


def test_calls_are_at_the_operating_point_of_their_class() -> None:
    assert called(FOUND, POINTS)["score"].tolist() == [0.9, 0.5, 0.8]
    assert called(FOUND, {"cyst": 0.6, "mass": 0.1})["score"].tolist() == [0.9, 0.45, 0.8]


def test_boxes_are_paired_one_to_one_within_a_class() -> None:
    found, right, ignored = pair_boxes(TRUE[TRUE["case_id"] == "a"], called(FOUND, POINTS))
    assert found.tolist() == [True, False, False]
    assert right.tolist() == [True, False, False]
    assert not ignored.any()
    nothing = TRUE.iloc[:0], FOUND.iloc[:0]
    assert [len(part) for part in pair_boxes(*nothing)] == [0, 0, 0]


def test_f1_of_cases() -> None:
    f1 = case_f1(["a", "b", "c"], TRUE, FOUND, POINTS)
    assert f1["a"] == pytest.approx(2 / 6)
    assert np.isnan(f1["b"])
    assert f1["c"] == 0
    ignored = TRUE.assign(ignore=[False, True, True, True])
    assert case_f1(["a", "c"], ignored, FOUND, POINTS)["a"] == pytest.approx(2 / 4)
    assert np.isnan(case_f1(["a", "c"], ignored, FOUND, POINTS)["c"])


def test_calls_on_ignored_boxes_are_neither_right_nor_false() -> None:
    true = boxes(("a", "cyst", 0, 0, 20, 20), ("a", "cyst", 40, 40, 90, 90)).assign(ignore=[False, True])
    calls = boxes(
        ("a", "cyst", 0.9, 0, 0, 20, 20), ("a", "cyst", 0.8, 40, 40, 90, 85), ("a", "cyst", 0.7, 50, 50, 60, 60),
        scores=True,
    )  # fmt: skip
    assert pair_boxes(true, calls).ignored.tolist() == [False, True, True]  # a crowd forgives what lies in it
    difficult = true.assign(difficult=true["ignore"])
    assert pair_boxes(difficult, calls).ignored.tolist() == [False, True, False]
    assert case_f1(["a"], true, calls, POINTS)["a"] == 1
    assert case_f1(["a"], difficult, calls, POINTS)["a"] == pytest.approx(2 / 3)


def test_what_is_drawn() -> None:
    image = np.full((100, 100, 1), 0.5, np.float32)
    true = TRUE[TRUE["case_id"] == "a"].assign(ignore=[False, False, True])
    picture = box_overlay(ShownBoxes(image, true, FOUND), CLASSES, POINTS)
    side = 400
    assert picture.shape[1] == 2 * side + 24
    # Panels: below their captions, which take 24 px; two of them side by side, 8 px apart.
    panels = [picture[top : top + side, left : left + side] for top in (24, 24 + side + 32) for left in (8, 16 + side)]
    for panel, colours in zip(
        panels,
        [
            set(),
            {CLASS_COLOURS[0], CLASS_COLOURS[1], UNKNOWN},
            {CLASS_COLOURS[0]},
            {MISSED, FALSE_CALL, (255, 255, 255)},
        ],
        strict=True,
    ):
        seen = {tuple(int(value) for value in pixel) for pixel in np.unique(panel.reshape(-1, 3), axis=0)}
        grey = {one for one in seen if len(set(one)) == 1}
        assert seen - grey == colours - grey
        assert colours <= seen
    # The box of the cyst: its left edge at x = 10, four screen pixels a pixel.
    assert tuple(panels[1][80, 40]) == CLASS_COLOURS[0]


def test_files_and_titles(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.float32)
    drawn = write_box_overlays(
        tmp_path, "val", case_f1(["a", "b", "c"], TRUE, FOUND, POINTS), lambda case: ShownBoxes(image, TRUE, FOUND),
        CLASSES, POINTS,
    )  # fmt: skip
    assert [picture.title for picture in drawn] == ["best of val: a, F1 0.333", "worst of val: c, F1 0.000"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["val_best_a.png", "val_worst_c.png"]
