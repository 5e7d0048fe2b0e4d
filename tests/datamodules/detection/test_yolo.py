"""Text files with ``data.yaml``, as they come and as they should not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from datamodules.detection.yolo import Yolo
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import CLASSES, expected, pictures, truth_of, write_images, write_yolo, yolo_text


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "yolo", pictures())


def describe(root: Path, **changes: Any) -> None:
    content = yaml.safe_load((root / "data.yaml").read_text())
    changed = {name: value for name, value in {**content, **changes}.items() if value is not None}
    (root / "data.yaml").write_text(yaml.safe_dump(changed))


def refused(root: Path, **settings: Any) -> str:
    data = Yolo(str(root), num_workers=0, **settings)
    with pytest.raises(SuiteError) as caught:
        _ = data.table
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same_boxes(data: Yolo) -> None:
    found, wanted = truth_of(data), expected(pictures())
    assert len(found) == len(wanted)
    for column in ("case_id", "label", "split"):
        assert found[column].tolist() == wanted[column].tolist()
    corners = ["x1", "y1", "x2", "y2"]
    np.testing.assert_allclose(found[corners], wanted[corners], rtol=0, atol=1e-9)


def test_paths_from_another_machine_are_found(root: Path) -> None:
    describe(root, path="/home/somebody/data")
    same_boxes(Yolo(str(root)))
    describe(root, path=None, train="../images/train", val=["./images/val"])
    same_boxes(Yolo(str(root)))
    describe(root, test="elsewhere/test")
    assert "data.yaml: test: elsewhere/test is not below" in refused(root)


def test_images_may_be_listed_in_text_files(root: Path) -> None:
    for part in ("train", "val", "test"):
        names = sorted(file.name for file in (root / "images" / part).iterdir())
        (root / f"{part}.txt").write_text("".join(f"./images/{part}/{name}\n" for name in names))
    describe(root, train="train.txt", val="val.txt", test="test.txt")
    data = Yolo(str(root))
    assert data.table.cases["case_id"].tolist() == sorted(f"{one.part}/{one.name}" for one in pictures())
    assert len(truth_of(data)) == len(expected(pictures()))
    (root / "val.txt").write_text("./images/val/lost.png\n")
    assert "val.txt: image ./images/val/lost.png is missing" in refused(root)


def test_without_parts_the_folder_of_the_images_is_taken(tmp_path: Path, root: Path) -> None:
    describe(root, train=None, val=None, test=None)
    same_boxes(Yolo(str(root)))  # images/ has a folder for each part
    flat = tmp_path / "flat"
    write_images(flat, pictures())
    for one in pictures():
        (flat / f"{one.name}.txt").write_text(yolo_text(one))
    data = Yolo(str(flat), images=".", classes=CLASSES)
    assert not data.table.published_split
    assert len(truth_of(data)) == len(expected(pictures()))
    (root / "labels").rename(root / "truth")
    assert truth_of(Yolo(str(root))).empty
    same_boxes(Yolo(str(root), annotations="truth"))


def test_names_may_be_a_list_and_are_text(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [no, 007]\n")
    assert Yolo(str(root)).class_names == ["no", "007"]
    assert Yolo(str(root), class_map={"no": "cyst", "007": "tumour"}).class_names == CLASSES


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"names": None}, "no names: list the classes there"),
        ({"names": {0: "cyst", 2: "tumour"}}, "names must be numbered 0 to 1"),
        ({"names": "cyst"}, "names is 'cyst': expected a list"),
        ({"nc": 3}, "nc is 3, but there are 2 names"),
        ({"train": {"a": 1}}, "train is"),
    ],
)
def test_mistakes_of_the_description(changes: dict[str, Any], said: str, root: Path) -> None:
    describe(root, **changes)
    line = refused(root)
    assert said in line
    assert "data.yaml" in line


def test_no_description_or_several(root: Path) -> None:
    (root / "data.yaml").rename(root / "a.yaml")
    same_boxes(Yolo(str(root)))
    (root / "b.yaml").write_text("names: [x]")
    assert "several YAML files (a.yaml, b.yaml): name one with --data.data_yaml" in refused(root)
    same_boxes(Yolo(str(root), data_yaml="a.yaml"))
    (root / "a.yaml").write_text("names: [cyst, tumour")
    assert "a.yaml: no YAML: " in refused(root, data_yaml="a.yaml")
    (root / "a.yaml").unlink()
    (root / "b.yaml").unlink()
    assert "no data.yaml: Yolo wants one with names" in refused(root)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0.5 0.5 0.1\n", "row 1: 4 columns"),
        ("\n0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1 0.9\n", "row 3: 6 columns"),
        ("2 0.5 0.5 0.1 0.1\n", "row 1: unknown class 2: the names of data.yaml are numbered 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1\n", "unknown class -1"),
        ("cyst 0.5 0.5 0.1 0.1\n", "are not five numbers"),
        ("0 nan 0.5 0.1 0.1\n", "row 1: a box of 'cyst' has coordinates that are NaN or infinite"),
        ("0 0.5 inf 0.1 0.1\n", "NaN or infinite"),
        ("0 12 14 5 6\n", "must be fractions of the sides"),
    ],
)
def test_mistakes_of_a_text_file(text: str, said: str, root: Path) -> None:
    (root / "labels" / "train" / "scan1.txt").write_text(text)
    line = refused(root)
    assert said in line
    assert "scan1.txt, row" in line
