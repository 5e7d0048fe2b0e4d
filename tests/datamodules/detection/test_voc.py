"""PASCAL VOC's XML, as it comes and as it should not."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.detection.voc import Voc
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import expected, pictures, truth_of, voc_text, write_images, write_voc


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def refused(root: Path, **settings: Any) -> str:
    data = Voc(str(root), num_workers=0, **settings)
    with pytest.raises(SuiteError) as caught:
        _ = data.class_names
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "voc", pictures())


def test_without_image_sets_the_split_is_drawn(tmp_path: Path) -> None:
    data = Voc(str(write_voc(tmp_path / "voc", pictures(), sets=False)), num_workers=0)
    assert not data.table.published_split
    assert truth_of(data).drop(columns="split").equals(expected(pictures()).drop(columns="split"))


def test_images_and_files_may_lie_together_below_the_parts(tmp_path: Path) -> None:
    some = pictures()
    for one in some:
        write_images(tmp_path / one.part, [one])
        (tmp_path / one.part / f"{one.name}.xml").write_text(voc_text(one))
    data = Voc(str(tmp_path), num_workers=0)
    assert data.table.published_split
    assert data.table.cases["case_id"].tolist() == sorted(f"{one.part}/{one.name}" for one in some)
    assert Counter(data.table.cases["split"]) == {"train": 6, "val": 2, "test": 2}
    assert len(truth_of(data)) == len(expected(some))


def test_trainval_is_split_where_there_is_no_train(root: Path) -> None:
    sets = root / "ImageSets" / "Main"
    (sets / "trainval.txt").write_text("".join((sets / f"{part}.txt").read_text() for part in ("train", "val")))
    (sets / "cyst_train.txt").write_text("nonsense 1\n")
    assert Counter(Voc(str(root)).table.cases["split"]) == {"train": 6, "val": 2, "test": 2}
    (sets / "train.txt").unlink()
    (sets / "val.txt").unlink()
    split = Voc(str(root)).table.cases.set_index("case_id")["split"]
    assert (split == "test").sum() == 2
    assert 0 < (split == "val").sum() < 4
    assert split[["scan8", "scan9"]].tolist() == ["test", "test"]


def test_inclusive_pixels_count_from_one(root: Path) -> None:
    edges, pixels = (truth_of(Voc(str(root), inclusive=inclusive)) for inclusive in (False, True))
    np.testing.assert_array_equal(pixels[["x1", "y1"]], np.maximum(edges[["x1", "y1"]] - 1, 0))
    np.testing.assert_array_equal(pixels[["x2", "y2"]], edges[["x2", "y2"]])


def test_sizes_that_files_do_not_say_come_from_the_images(root: Path) -> None:
    for number, file in enumerate(sorted((root / "Annotations").iterdir())):
        text = file.read_text()
        start, end = text.index("<size>"), text.index("</size>") + 7
        empty = "<size><width>0</width><height>0</height></size>" if number % 2 else ""
        file.write_text(text[:start] + empty + text[end:])
    assert truth_of(Voc(str(root))).equals(expected(pictures()))


def test_an_image_may_have_another_name_than_its_file(root: Path) -> None:
    (root / "JPEGImages" / "scan3.png").rename(root / "JPEGImages" / "other.png")
    assert "scan3.xml: its image scan3.* or scan3.png is missing in" in refused(root)
    file = root / "Annotations" / "scan3.xml"
    file.write_text(file.read_text().replace("scan3.png", "other.png"))
    data = Voc(str(root))
    assert data.table.cases["path"][3] == "JPEGImages/other.png"
    assert data.read(3).array.shape == pictures()[3].size


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation><filename>&c;</filename></annotation>'
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE], ids=["bomb", "file"])
def test_entities_are_refused(text: str, root: Path) -> None:
    (root / "Annotations" / "scan3.xml").write_text(text)
    line = refused(root)
    assert "scan3.xml: refused, because it declares entities" in line
    assert "root:" not in line


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<xmin>", "<xmin>nan", "<bndbox/xmin> is 'nan"),
        ("</annotation>", "", "no XML, or cut off"),
        ("annotation>", "image>", "no annotation of PASCAL VOC"),
        ("<name>", "<title>", "no XML, or cut off"),
        ("xmax>", "right>", "<bndbox/xmax> is missing where a number should stand"),
        ("name>", "title>", "an object has no <name>"),
    ],
)
def test_mistakes_are_named_in_a_line(old: str, new: str, said: str, root: Path) -> None:
    file = root / "Annotations" / "scan3.xml"
    file.write_text(file.read_text().replace(old, new))
    line = refused(root)
    assert said in line
    assert "scan3.xml" in line


@pytest.mark.parametrize("value", ["NaN", "inf", "1e999"])
def test_coordinates_that_are_no_numbers(value: str, root: Path) -> None:
    file = root / "Annotations" / "scan3.xml"
    text = file.read_text()
    start, end = text.index("<ymax>") + 6, text.index("</ymax>")
    file.write_text(text[:start] + value + text[end:])
    assert "scan3.xml: a box of" in (line := refused(root))
    assert "NaN or infinite" in line


def test_classes_that_are_not_named(root: Path) -> None:
    line = refused(root, classes="cyst,tumor")
    assert "unknown class 'tumour': did you mean 'tumor'?" in line
    assert ".xml" in line
    data = Voc(str(root), classes="cyst,tumor", class_map={"tumour": "tumor"})
    assert data.class_names == ["cyst", "tumor"]
    assert set(truth_of(data)["label"]) == {"cyst", "tumor"}
    assert Voc(str(root), classes=["tumour", "cyst"]).class_names == ["tumour", "cyst"]


def test_image_sets_and_files_must_fit(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    sets = root / "ImageSets" / "Main"
    (sets / "val.txt").write_text("scan6\nscan0\n")
    assert "'scan0' stands in train.txt too" in refused(root)
    (sets / "val.txt").write_text("scan6\nlost\n")
    assert "val.txt: 'lost' has no lost.xml in" in refused(root)
    (sets / "val.txt").write_text("scan6\n")
    with caplog.at_level(logging.WARNING):
        assert len(Voc(str(root)).table) == 9
    assert "1 XML files are in no image set and are left out" in caplog.text


def test_images_without_a_file_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_voc(tmp_path / "voc", pictures(), sets=False)
    (root / "Annotations" / "scan3.xml").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(Voc(str(root)).table) == 9
    assert "1 images have no XML file and are left out" in caplog.text


def test_a_folder_without_annotations(tmp_path: Path) -> None:
    assert "no XML files in it: Voc wants JPEGImages/ beside Annotations/" in refused(tmp_path)
    assert "--data.annotations" in refused(tmp_path, annotations="nowhere")


def test_blood_cells(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = shared_data / "bccd" / "BCCD"
    with caplog.at_level(logging.WARNING):
        data = Voc(str(root), num_workers=0, batch_size=4, image_size="240,320")
        assert data.class_names == ["Platelets", "RBC", "WBC"]
    assert data.table.published_split
    assert Counter(data.table.cases["split"]) == {"train": 205, "val": 87, "test": 72}
    for part in ("train", "val", "test"):
        names = (root / "ImageSets" / "Main" / f"{part}.txt").read_text().split()
        assert set(data.table.cases["case_id"][data.rows(part)]) == set(names)
    lines = [record.getMessage() for record in caplog.records if "boxes" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("2 boxes without width or height are dropped (in 2 images, the first: ")
    assert lines[0].endswith("BloodImage_00338.xml)")
    truth = truth_of(data)
    # As grep counts names in the files, without the two.
    assert Counter(truth["label"]) == {"RBC": 4153, "WBC": 372, "Platelets": 361}
    assert not truth["ignore"].any()
    assert (data.max_detections, data.input_size, len(data.box_sizes)) == (100, (240, 320), 2804)
    batch = next(iter(data.val_dataloader()))
    for boxes, labels, scan in zip(batch["boxes"], batch["labels"], batch["scan"], strict=True):
        own = truth[truth["case_id"] == scan["case_id"]]
        np.testing.assert_allclose(boxes, own[["x1", "y1", "x2", "y2"]].to_numpy() / 2, atol=1e-4)
        assert [data.class_names[label] for label in labels] == own["label"].tolist()
