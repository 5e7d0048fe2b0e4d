"""Boxes from a table, under the names and in the forms that people give them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.detection.box_columns import BoxKind, box_columns, corners_of, plain
from datamodules.detection.box_table import BoxTable
from datamodules.readers.raster import write_png
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import box_rows, expected, pictures, truth_of, write_box_table, write_images

SOME = pictures()
SIZES = {f"{one.name}.png": one.size for one in SOME}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def table_of(root: Path, frame: pd.DataFrame, **settings: Any) -> BoxTable:
    frame.to_csv(root / "boxes.csv", index=False)
    return BoxTable(str(root), num_workers=0, check_files=False, **settings)


def as_xywh(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(x2=frame["x2"] - frame["x1"], y2=frame["y2"] - frame["y1"])


def as_centres(frame: pd.DataFrame) -> pd.DataFrame:
    wide = as_xywh(frame)
    return wide.assign(x1=frame["x1"] + wide["x2"] / 2, y1=frame["y1"] + wide["y2"] / 2)


def as_fractions(frame: pd.DataFrame) -> pd.DataFrame:
    sides = pd.DataFrame([SIZES[path] for path in frame["path"]], columns=["h", "w"])
    return frame.assign(
        x1=frame["x1"] / sides["w"], y1=frame["y1"] / sides["h"], x2=frame["x2"] / sides["w"],
        y2=frame["y2"] / sides["h"],
    )  # fmt: skip


Change = Callable[[pd.DataFrame], pd.DataFrame]


def same(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


# Names, format.


@pytest.mark.parametrize(
    ("names", "change"),
    [
        ("path x1 y1 x2 y2 label", same),
        ("image_id xmin ymin xmax ymax class", same),
        ("filename x_min y_min x_max y_max category_name", same),
        ("Image Left Top Right Bottom Type", same),
        ("file x0 y0 x1 y1 name", same),
        ("ImageID XMin YMin XMax YMax LabelName", as_fractions),  # Open Images
        ("Image_Index Bbox_[x y w h] Finding_Label", as_xywh),  # ChestX-ray14
        ("image x y width height label", as_xywh),
        ("image bbox_x bbox_y bbox_w bbox_h class", as_xywh),
        ("image cx cy w h class", as_centres),
        ("image x_center y_center width height class", as_centres),
        (
            "image x_center_norm y_center_norm width_norm height_norm class",
            lambda frame: as_centres(as_fractions(frame)),
        ),
        ("image rel_x1 rel_y1 rel_x2 rel_y2 class", as_fractions),
    ],
)
def test_columns_are_found_by_their_names(names: str, change: Change, tmp_path: Path) -> None:
    write_images(tmp_path, SOME)
    path, *corners, label = names.split()
    frame = change(box_rows(SOME)).rename(
        columns={"path": path, "label": label, **dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True))}
    )
    data = table_of(tmp_path, frame.assign(width_of_image=1)[[label, *sorted(corners), path, "split"]])
    pd.testing.assert_frame_equal(truth_of(data), expected(SOME), rtol=0, atol=1e-9)
    assert len(data.table) == len(SOME)


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"box_columns": "a,b,c,d", "box_format": "xyxy"}, same),
        ({"box_columns": ["a", "b", "c", "d"], "box_format": "xywh"}, as_xywh),
        ({"box_columns": "a,b,c,d", "box_format": "cxcywh", "relative": True}, lambda f: as_centres(as_fractions(f))),
    ],
)
def test_columns_by_flag(settings: dict[str, Any], change: Change, tmp_path: Path) -> None:
    write_images(tmp_path / "scans", SOME)
    names = {"x1": "a", "y1": "b", "x2": "c", "y2": "d", "path": "where", "label": "what", "split": "part"}
    frame = change(box_rows(SOME)).rename(columns=names).assign(part="train")
    frame["who"] = "p" + frame["where"].str[4]
    data = table_of(
        tmp_path, frame, images="scans", path_column="where", label_column="what", patient_column="who",
        split_column="part", split="all_test", **settings,
    )  # fmt: skip
    boxes = truth_of(data).drop(columns="split")
    pd.testing.assert_frame_equal(boxes, expected(SOME).drop(columns="split"), rtol=0, atol=1e-9)
    assert data.table.cases["patient_id"].tolist() == [f"p{row}" for row in range(10)]
    assert data.table.cases["path"].str.startswith("scans/").all()


def test_four_numbers_in_one_column(tmp_path: Path) -> None:
    write_images(tmp_path, SOME)
    frame = as_xywh(box_rows(SOME))
    cells: Any = [
        f"[{a}, {b}, {c}, {d}]" if a == a else None for a, b, c, d in frame[["x1", "y1", "x2", "y2"]].to_numpy()
    ]
    frame = frame.drop(columns=["x1", "y1", "x2", "y2"]).assign(bbox=cells)
    with pytest.raises(SuiteError, match=r"'bbox' with four numbers a cell: say what they are with --data\.box_format"):
        _ = table_of(tmp_path, frame).table
    data = table_of(tmp_path, frame, box_format="xywh")
    pd.testing.assert_frame_equal(truth_of(data), expected(SOME), rtol=0, atol=1e-9)


def test_x_y_w_h_are_centres_where_the_flag_says_so() -> None:
    names = ["x", "y", "w", "h"]
    assert box_columns(names, [], "auto", "t.csv").kind == "xywh"
    assert box_columns(names, [], "cxcywh", "t.csv") == (tuple(names), "cxcywh", False)
    assert box_columns(["xmin", "xmax", "ymin", "ymax"], ["xmin", "xmax", "ymin", "ymax"], "xyxy", "t").names == (
        "xmin", "ymin", "xmax", "ymax",
    )  # fmt: skip
    assert plain("x_center_norm") == ("xcenter", True)
    assert plain("Bbox [x") == ("x", False)


@given(
    boxes=st.lists(st.tuples(*[st.integers(0, 500)] * 2, *[st.integers(1, 500)] * 2), min_size=1, max_size=4),
    sides=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
)
def test_every_format_says_the_same_boxes(boxes: list[tuple[int, ...]], sides: tuple[int, int]) -> None:
    corner = np.array(boxes, np.float64)
    xyxy = np.hstack([corner[:, :2], corner[:, :2] + corner[:, 2:]])
    centre = np.hstack([corner[:, :2] + corner[:, 2:] / 2, corner[:, 2:]])
    forms: dict[BoxKind, np.ndarray[Any, Any]] = {"xyxy": xyxy, "xywh": corner, "cxcywh": centre}
    scale = np.array([*sides, *sides], np.float64)
    of_images = np.tile(np.array(sides, np.float64), (len(boxes), 1))
    for kind, values in forms.items():
        np.testing.assert_array_equal(corners_of(values, kind, None), xyxy)
        np.testing.assert_allclose(corners_of(values / scale, kind, of_images), xyxy, atol=1e-9)


# Images.


def test_images_without_boxes_and_in_no_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_box_table(tmp_path, SOME)
    write_png(tmp_path / "more.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "notes.txt").touch()
    data = BoxTable(str(tmp_path))
    assert data.table.cases["case_id"].tolist() == sorted(one.name for one in SOME)
    bare = [one.name for one in SOME if not one.boxes]
    assert bare
    assert not set(bare) & set(truth_of(data)["case_id"])
    assert (
        f"{tmp_path / 'boxes.csv'}: 1 images are in no row and are left out, such as more.png: an image" in caplog.text
    )
    assert "boxes are xyxy (x1, y1, x2, y2), paths in 'path', labels in 'label'" in caplog.text


@pytest.mark.parametrize("folder", [".", "images"])
def test_paths_without_suffix_and_below_images(folder: str, tmp_path: Path) -> None:
    write_images(tmp_path / folder, SOME)
    frame = box_rows(SOME)
    data = table_of(
        tmp_path, frame.assign(path=frame["path"].str.removesuffix(".png")).rename(columns={"path": "image_id"})
    )
    pd.testing.assert_frame_equal(truth_of(data), expected(SOME))
    assert data.table.cases["path"].str.endswith(".png").all()


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_a_korean_table_is_the_same_data(encoding: str, tmp_path: Path) -> None:
    write_images(tmp_path, SOME)
    frame = box_rows(SOME).replace({"label": {"cyst": "낭종", "tumour": "종양"}})
    frame[["x1", "y1", "x2", "y2"]] += 0.25
    content = frame.to_csv(index=False, sep=";", decimal=",")
    (tmp_path / "boxes.csv").write_bytes(content.encode(encoding))
    data = BoxTable(str(tmp_path))
    assert data.class_names == ["낭종", "종양"]
    truth = truth_of(data)
    assert len(truth) == len(expected(SOME))
    assert (truth["x1"] % 1 == 0.25).all()


def test_parts_patients_and_further_columns_are_of_the_image(tmp_path: Path) -> None:
    write_images(tmp_path, SOME)
    frame = box_rows(SOME).assign(
        patient_id="007", scanner="A", reader=[f"r{row}" for row in range(len(box_rows(SOME)))]
    )
    frame["split"] = frame["split"].map({"train": "training", "val": "dev", "test": "test"})
    data = table_of(tmp_path, frame, allow_leakage=True)
    cases = data.table.cases
    assert cases["split"].value_counts().to_dict() == {"train": 6, "val": 2, "test": 2}
    assert set(cases["patient_id"]) == {"007"}
    assert set(cases["scanner"]) == {"A"}
    several = {one.name for one in SOME if len(one.boxes) > 1}
    assert set(cases["case_id"][cases["reader"].isna()]) == several
    frame.loc[frame.index[-1], "split"] = "train"
    with pytest.raises(SuiteError, match=r"rows of image scan9\.png differ in column 'split' \(test in row \d+, train"):
        _ = table_of(tmp_path, frame).table


def test_a_split_is_drawn_by_patient_and_folds_do_not_overlap(tmp_path: Path) -> None:
    write_images(tmp_path, SOME)
    frame = box_rows(SOME).drop(columns="split")
    frame["patient_id"] = [f"p{int(path[4]) // 2}" for path in frame["path"]]
    validated: list[set[str]] = []
    for fold in range(2):
        cases = table_of(tmp_path, frame, folds=2, fold=fold).table.cases
        assert cases.groupby("patient_id")["split"].nunique().max() == 1
        validated.append(set(cases["case_id"][cases["split"] == "val"]))
    assert validated[0]
    assert validated[1]
    assert not validated[0] & validated[1]


def test_one_class_needs_no_column(tmp_path: Path) -> None:
    write_images(tmp_path, SOME)
    frame = box_rows(SOME).drop(columns="label")
    with pytest.raises(SuiteError, match=r"no column of labels, .* with --data\.label_column .*with --data\.classes"):
        _ = table_of(tmp_path, frame).table
    assert set(truth_of(table_of(tmp_path, frame, classes="lesion"))["label"]) == {"lesion"}


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("x1", None, r"row 2: 'nan, .* are not four numbers: correct them, or empty all for an image without boxes"),
        ("y2", "wide", r"row 2: .*wide' in x1, y1, x2, y2 are not four numbers"),
        ("label", None, r"row 2: column 'label' is empty: say what the box is, or empty its numbers"),
        ("path", "gone.png", r"boxes\.csv: gone\.png in column 'path' is not below .*name the folder .*--data\.images"),
        ("path", None, r"boxes\.csv: column 'path' is empty in row 2"),
        ("path", "../x.png", r"\.\./x\.png \(number \d\) is outside of"),
        ("split", "holdout", r"split 'holdout' in row 2 is none of train"),
        ("x1", "inf", "coordinates that are NaN or infinite"),
    ],
)
def test_a_wrong_cell_is_named_with_its_row(column: str, value: str | None, says: str, tmp_path: Path) -> None:
    write_images(tmp_path, SOME)
    frame = box_rows(SOME)
    frame[column] = frame[column].astype(object)
    frame.loc[1, column] = value
    with pytest.raises(SuiteError, match=says) as caught:
        _ = table_of(tmp_path, frame).table
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"box_columns": "x1,y1"}, "--data.box_columns x1,y1: four columns, or one whose cells have four numbers"),
        ({"box_columns": "x1,y1,x2,y3"}, "no column 'y3' for --data.box_columns: there are path, "),
        ({"path_column": "pth"}, "no column 'pth' for --data.path_column: did you mean 'path'?"),
        ({"label_column": "what"}, "no column 'what' for --data.label_column: there are path, "),
        ({"box_columns": "x1,y1,x2,split"}, "columns x1, y1, x2, split: say what they are with --data.box_format"),
        ({"relative": True}, "is no fraction of its image's sides"),
        ({"table": "none.csv"}, "no such file"),
        ({"images": "none"}, "no such folder"),
    ],
)
def test_flags_that_do_not_fit_are_named(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    write_box_table(tmp_path, SOME)
    with pytest.raises(SuiteError) as caught:
        _ = BoxTable(str(tmp_path), **settings).table
    assert says in str(caught.value)


def test_a_table_without_boxes_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, SOME)
    with pytest.raises(SuiteError, match=r"boxes\.csv: no columns of boxes, such as x1,y1,x2,y2.*there are path, spl"):
        _ = table_of(tmp_path, box_rows(SOME)[["path", "split", "label"]]).table
