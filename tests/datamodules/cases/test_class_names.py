"""Classes by name: two that become one, grades in their order, and names that nobody meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.cases.class_names import not_meant
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.classification.target import join_labels, make_target
from datamodules.detection.coco import Coco
from datamodules.detection.voc import Voc
from datamodules.readers.raster import write_png
from datamodules.samples.label_values import IGNORE
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.masks import foreground, seen_values
from datamodules.segmentation.volume_labels import seen_labels
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import write_scans
from tests.datamodules.volumes_on_disk import write_nifti


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


# A class_map that joins two names.


def folder_of(root: Path, *classes: str, images: int = 6) -> Path:
    write_scans(root, [f"{name}/{number}.png" for name in classes for number in range(images)])
    return root


def test_two_folders_that_become_one_class_leave_no_empty_second(tmp_path: Path) -> None:
    data = ImageFolder(str(folder_of(tmp_path, "cyst", "nodule", "well")), class_map={"cyst": "nodule"}, folds=3)
    assert data.class_names == ["nodule", "well"]
    assert np.bincount(data.targets.values).tolist() == [12, 6]
    assert data.target == "binary"


def test_two_values_of_a_table_become_one_class(tmp_path: Path) -> None:
    write_scans(tmp_path, [f"{number}.png" for number in range(9)])
    rows = [f"{number}.png,{'abc'[number % 3]}" for number in range(9)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    data = ImageTable(str(tmp_path), class_map={"b": "c", "c": "b"})
    assert data.class_names == ["a", "b", "c"]  # an exchange is no union
    assert data.targets.values.tolist() == [0, 2, 1] * 3
    assert ImageTable(str(tmp_path), class_map={"b": "c"}).targets.values.tolist() == [0, 1, 1] * 3


def test_two_labels_become_one(tmp_path: Path) -> None:
    """It ended in a traceback: the table had two columns of one name."""
    write_scans(tmp_path, [f"{number}.png" for number in range(12)])
    cells = ["1,0,0", "0,1,0", "0,0,1", "0,,1", "1,,0", ",,1"] * 2
    rows = [f"{number}.png,{cell}" for number, cell in enumerate(cells)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,mass,nodule,oedema", *rows]))
    class_map = {"mass": "lesion", "nodule": "lesion"}
    data = ImageTable(str(tmp_path), label_columns="mass,nodule,oedema", class_map=class_map, folds=3)
    assert (data.target, data.class_names) == ("multilabel", ["lesion", "oedema"])
    unknown = np.nan
    np.testing.assert_array_equal(data.targets.values[:6, 0], [1, 1, 0, unknown, 1, unknown])
    onto_another = ImageTable(str(tmp_path), label_columns="mass,nodule,oedema", class_map={"mass": "oedema"})
    assert onto_another.class_names == ["oedema", "nodule"]
    np.testing.assert_array_equal(onto_another.targets.values[:6, 0], [1, 0, 1, 1, 1, 1])


def test_a_cell_that_is_no_label_is_still_named_when_labels_are_joined() -> None:
    joined = join_labels(pd.DataFrame({"a": ["0", "1"], "b": ["1", "maybe"]}))
    assert joined.tolist() == [1.0, "maybe"]
    with pytest.raises(SuiteError, match="column 'ab' has 'maybe' in row 2"):
        make_target(pd.DataFrame({"ab": joined}), ["ab"], kind="multilabel", where="t.csv")


def masks_of(root: Path, values: list[list[int]], dtype: str = "uint8", suffix: str = "png") -> Path:
    for number, row in enumerate(values):
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        write_png(root / "images" / f"{number}.png", np.full((4, len(row)), 10 * number, np.uint8))
        write_png(root / "masks" / f"{number}.{suffix}", np.tile(np.array(row, dtype), (4, 1)))
    return root


def test_two_classes_of_masks_become_one_and_one_becomes_background(tmp_path: Path) -> None:
    """Both names stood among the classes, and the second had no pixel."""
    root = masks_of(tmp_path, [[0, 1, 2, 3]] * 6)
    classes = ["background", "edema", "core", "vessel"]
    joined = MaskFolder(str(root), classes=classes, class_map={"edema": "tumour", "core": "tumour"})
    assert joined.class_names == ["background", "tumour", "vessel"]
    assert joined.read_mask(0)[0].tolist() == [0, 1, 1, 2]
    less = MaskFolder(str(root), classes=classes, class_map={"vessel": "background"})
    assert less.class_names == ["background", "edema", "core"]
    assert less.read_mask(0)[0].tolist() == [0, 1, 2, 0]
    class_map = {"edema": "tumour", "core": "tumour", "vessel": "background"}
    overlapping = MaskFolder(str(root), classes=classes, overlapping=True, class_map=class_map)
    assert overlapping.class_names == ["tumour"]
    assert overlapping.read_mask(0)[:, 0].tolist() == [[0, 1, 1, 0]]
    evaluated = MaskFolder(
        str(root), classes=classes, class_map={"edema": "tumour", "core": "tumour"}, split="all_test"
    )
    evaluated.adopt_classes(["background", "vessel", "tumour"], overlapping=False)
    assert evaluated.read_mask(0)[0].tolist() == [0, 2, 2, 1]


def coco_of(root: Path, labels: list[str]) -> Path:
    write_scans(root / "images", [f"{number}.png" for number in range(len(labels))])
    names = list(dict.fromkeys(labels))
    content: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 16, "height": 16} for n in range(len(labels))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": names.index(label), "bbox": [1, 1, 5, 5]}
            for n, label in enumerate(labels)
        ],
    }
    (root / "boxes.json").write_text(json.dumps(content))
    return root


def test_two_classes_of_boxes_become_one(tmp_path: Path) -> None:
    root = coco_of(tmp_path, ["cyst", "nodule", "mass"] * 4)
    data = Coco(str(root), class_map={"cyst": "nodule"}, folds=3)
    assert data.class_names == ["nodule", "mass"]
    found = [int(data.boxes_of(case)[1][0]) for case in range(12)]
    assert sorted(found) == [0] * 8 + [1] * 4


def test_a_name_that_is_renamed_and_not_there_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = "--data.class_map renames 'Cyst', which is no class of the data: did you mean 'cyst'?"
    folders = ImageFolder(str(folder_of(tmp_path / "a", "cyst", "well")), class_map={"Cyst": "nodule"}, folds=3)
    assert folders.class_names == ["cyst", "well"]
    assert [record.getMessage() for record in caplog.records].count(said) == 1
    boxes = Coco(str(coco_of(tmp_path / "b", ["cyst", "mass"] * 6)), class_map={"Cyst": "nodule"}, folds=3)
    assert boxes.class_names == ["cyst", "mass"]
    masks = masks_of(tmp_path / "c", [[0, 1]] * 6)
    assert MaskFolder(str(masks), classes=["none", "cyst"], class_map={"Cyst": "nodule"}).class_names[1] == "cyst"
    assert [record.getMessage() for record in caplog.records].count(said) == 3


def test_a_class_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"--data\.class_names: class 'a' is duplicated"):
        ImageTable(str(tmp_path), class_names=["a", "b", "a "])


# Grades.


def test_graded_folders_are_ordered_by_number(tmp_path: Path) -> None:
    """They were ordered by name: 1, 10, 2."""
    data = ImageFolder(str(folder_of(tmp_path, "1", "10", "2")), target="ordinal", folds=3)
    assert data.class_names == ["1", "2", "10"]
    unranked = ImageFolder(str(tmp_path), folds=3)
    assert (unranked.target, unranked.class_names) == ("multiclass", ["1", "10", "2"])  # as torchvision numbers them


def test_graded_folders_with_names_are_refused_without_their_order(tmp_path: Path) -> None:
    """They were ordered by the alphabet: mild, moderate, none, severe."""
    root = str(folder_of(tmp_path, "mild", "moderate", "none", "severe"))
    with pytest.raises(SuiteError, match=r"no whole numbers \(mild, moderate, none, severe\): .*--data\.class_names"):
        _ = ImageFolder(root, target="ordinal", folds=3).table
    order = ["none", "mild", "moderate", "severe"]
    assert ImageFolder(root, target="ordinal", folds=3, class_names=order).class_names == order
    numbered = {"none": "0", "mild": "1", "moderate": "2", "severe": "10"}
    assert ImageFolder(root, target="ordinal", folds=3, class_map=numbered).class_names == ["0", "1", "2", "10"]


# Names that nobody meant.


@pytest.mark.parametrize(
    ("values", "settings", "says"),
    [
        (
            [0, 1, -1, 0],
            {},
            r"t\.csv: column 'label', row 3: label '-1' is a negative number, which often",
        ),
        ([0.0, -1.0, 1.0], {"kind": "multiclass"}, "row 2: label '-1' is a negative number"),
        (["0", "1", "-999"], {"kind": "ordinal"}, "row 3: label '-999' is a negative number"),
        (
            ["ill", "nan", "well"],
            {},
            r"row 2: label 'nan' is what programs write .*--data\.class_names",
        ),
        (["ill", "<NA>", "well"], {"found_order": ["<NA>", "ill", "well"]}, "row 2: label '<NA>' is what programs"),
        (list(np.linspace(0, 1, 40)), {}, r"40 different values, many of them fractions .*--data\.target regression"),
    ],
)
def test_a_label_that_hardly_is_a_class_does_not_become_one(
    values: list[Any], settings: dict[str, Any], says: str
) -> None:
    """Label -1 became a third class without a word."""
    frame = pd.DataFrame({"label": values})
    with pytest.raises(SuiteError, match=says):
        make_target(frame, ["label"], where="t.csv", **settings)


def test_what_is_listed_or_renamed_is_meant(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": [0, 1, -1]})
    listed = make_target(frame, ["label"], kind="ordinal", class_order=["-1", "0", "1"], where="t.csv")
    assert listed.values.tolist() == [1, 2, 0]
    write_scans(tmp_path, [f"{number}.png" for number in range(6)])
    rows = [f"{number}.png,{(-1, 1)[number % 2]}" for number in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    assert ImageTable(str(tmp_path), class_map={"-1": "well", "1": "ill"}).class_names == ["ill", "well"]
    halves = make_target(pd.DataFrame({"label": [0.0, 0.5, 1.0]}), ["label"], where="t.csv")
    assert halves.class_names == ("0.0", "0.5", "1.0")
    assert [name for name in ("None", "NA", "unknown", "-", "1-2", "0") if not_meant(name)] == []


def test_a_regression_target_takes_negative_numbers_and_refuses_what_overflows() -> None:
    frame = pd.DataFrame({"label": [-1.0, 2.0]})
    assert make_target(frame, ["label"], kind="regression", where="t.csv").values.tolist() == [-1, 2]
    with pytest.raises(SuiteError, match=r"'1e\+300' in row 2: a regression target is a finite number"):
        make_target(pd.DataFrame({"label": [1.0, 1e300]}), ["label"], kind="regression", where="t.csv")


def test_a_box_that_hardly_has_a_class_is_refused_where_nobody_lists_them(tmp_path: Path) -> None:
    write_scans(tmp_path / "images", ["0.png"])
    (tmp_path / "images" / "0.xml").write_text(
        "<annotation><object><name>-1</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
        "</object></annotation>"
    )
    with pytest.raises(SuiteError, match=r"label '-1' is a negative number.*--data\.classes"):
        Voc(str(tmp_path)).build_table()
    assert Voc(str(tmp_path), classes="-1").build_table() is not None


@pytest.mark.parametrize(
    ("values", "ignore", "says"),
    [
        ([0, 1, -2], None, r"m\.nii: label value -2 is negative, .*--data\.ignore_value -2, or name it"),
        ([0, -1, 1], None, "label value -1 is negative"),
        ([0, -1, -2], -2, "label value -1 is negative"),
        ([0, 1, np.nan], None, "label value nan is no whole number"),
        ([0, 1, np.inf], None, "label value inf is no whole number"),
        ([0, 0.5, 1], None, r"label value 0\.5 is no whole number"),
    ],
)
def test_values_of_masks_that_are_hardly_classes_are_refused(
    values: list[float], ignore: int | None, says: str
) -> None:
    """Value -2 became a class, NaN ended in a traceback, 0.5 was taken for background."""
    array = np.array(values, np.float32)
    for read in (seen_values, foreground):
        with pytest.raises(SuiteError, match=says):
            read(array, "m.nii", ignore)


def test_values_of_masks_that_are_to_be_ignored_or_whole_are_read(tmp_path: Path) -> None:
    array = np.array([0.0, 1.0, -1.0, 7.0], np.float32)
    assert seen_values(array, "m.nii", -1) == {0, 1, 7}
    assert foreground(array, "m.nii", -1).tolist() == [0, 1, IGNORE, 1]
    assert foreground(array[:2], "m.nii").tolist() == [0, 1]
    file = write_nifti(tmp_path / "m.nii", np.array([0, 1, -2], np.int16).reshape(1, 1, 3))
    with pytest.raises(SuiteError, match=r"m\.nii: label value -2 is negative"):
        seen_labels([file], None)
    assert seen_labels([file], -2) == {"background": 0, "1": 1}
