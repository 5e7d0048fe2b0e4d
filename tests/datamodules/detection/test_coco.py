"""COCO's JSON, as it comes and as it should not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.detection.coco import Coco
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import PARTS, coco_content, expected, pictures, truth_of, write_coco, write_images

Content = dict[str, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def one_file(root: Path, content: Content | None = None) -> Coco:
    """All images in ``images/``, one JSON beside it."""
    some = pictures()
    write_images(root / "images", some)
    (root / "boxes.json").write_text(json.dumps(coco_content(some) if content is None else content))
    return Coco(str(root), num_workers=0)


def refused(root: Path, change: Callable[[Content], object]) -> str:
    content = coco_content(pictures())
    change(content)
    data = one_file(root, content)
    with pytest.raises(SuiteError) as caught:
        _ = data.table
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_file_is_split_here(tmp_path: Path) -> None:
    data = one_file(tmp_path)
    assert not data.table.published_split
    assert set(data.table.cases["split"]) == {"train", "val", "test"}
    found, wanted = truth_of(data).drop(columns="split"), expected(pictures()).drop(columns="split")
    assert found.equals(wanted)


@pytest.mark.parametrize(
    "place",
    [
        lambda root, part: (root / "annotations" / f"instances_{part}2017.json", root / f"{part}2017"),
        lambda root, part: (root / f"{part}.json", root / "images"),
        lambda root, part: (root / {"val": "valid"}.get(part, part) / "_annotations.coco.json", None),
        lambda root, part: (root / "annotations" / f"instances_{part}.json", root / "images" / part),
    ],
    ids=["coco2017", "flat", "roboflow", "images"],
)
def test_usual_layouts_are_a_published_split(
    place: Callable[[Path, str], tuple[Path, Path | None]], tmp_path: Path
) -> None:
    some = pictures()
    for part in PARTS:
        own = [one for one in some if one.part == part]
        file, folder = place(tmp_path, part)
        write_images(folder or file.parent, own)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(coco_content(own)))
    (tmp_path / "annotations").mkdir(exist_ok=True)
    if (tmp_path / "annotations" / "instances_train2017.json").exists():
        (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    data = Coco(str(tmp_path), num_workers=0)
    assert data.table.published_split
    assert truth_of(data).equals(expected(some))
    assert data.read(0).array.ndim == 2


def test_files_and_images_may_be_named(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "data", pictures())
    (root / "annotations").rename(root / "json")
    (root / "images").rename(root / "pictures")
    with pytest.raises(SuiteError, match="no JSON file in it or in annotations/"):
        _ = Coco(str(root)).table
    names = [f"json/instances_{part}.json" for part in PARTS]
    with pytest.raises(SuiteError, match=r"instances_train\.json: image scan0\.png is missing in .*--data\.images"):
        _ = Coco(str(root), annotations=names).table
    data = Coco(str(root), annotations=",".join(names), images="pictures", num_workers=0)
    assert truth_of(data).equals(expected(pictures()))


def test_file_names_may_hold_the_folder_of_the_images(tmp_path: Path) -> None:
    content = coco_content(pictures())
    for image in content["images"]:
        image["file_name"] = f"images/{image['file_name']}"
    assert one_file(tmp_path, content).table.cases["case_id"].tolist() == sorted(one.name for one in pictures())


def test_equal_names_in_two_parts_are_told_apart(tmp_path: Path) -> None:
    train, val = pictures()[1], pictures()[2]
    for part, one in (("train", train), ("val", val._replace(name=train.name))):
        write_images(tmp_path / "images" / part, [one])
        (tmp_path / f"{part}.json").write_text(json.dumps(coco_content([one])))
    data = Coco(str(tmp_path), num_workers=0, allow_leakage=True)
    assert data.table.cases["case_id"].tolist() == ["images/train/scan1", "images/val/scan1"]
    assert [len(data.boxes_of(case)[0]) for case in (0, 1)] == [1, 2]


def test_two_files_of_one_part_are_refused(tmp_path: Path) -> None:
    one_file(tmp_path)
    (tmp_path / "more.json").write_text("{}")
    with pytest.raises(SuiteError, match=r"boxes\.json names no part of a split.*--data\.annotations"):
        _ = Coco(str(tmp_path)).table
    assert len(Coco(str(tmp_path), annotations="boxes.json", num_workers=0).table) == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["annotations"][2].update(bbox=[1, float("nan"), 5, 5]), "NaN or infinite"),
        (lambda c: c["annotations"][2].update(bbox=[1, 2, float("inf"), 5]), "NaN or infinite"),
        (lambda c: c["annotations"][2].update(bbox=[1, 2, 5]), "annotation 3: bbox [1, 2, 5] is not [x, y, width"),
        (lambda c: c["annotations"][2].pop("bbox"), "annotation 3: bbox null is not"),
        (lambda c: c["annotations"][2].update(image_id=7), "annotation 3: image_id 7 is the id of no image"),
        (
            lambda c: c["annotations"][2].update(category_id=4),
            "annotation 3: unknown class: category_id 4 is none of the categories (3 cyst, 7 tumour)",
        ),
        (lambda c: c["images"][1].update(id=100), "image id 100 is duplicated (scan0.png and scan1.png)"),
        (lambda c: c["images"][1].update(file_name="scan0.png"), "image scan0.png is duplicated"),
        (lambda c: c["images"][1].update(file_name="lost.png"), "image lost.png is missing in"),
        (lambda c: c["images"][0].update(file_name="lost.png"), "image lost.png is missing in"),
        (lambda c: c["categories"][1].update(id=7), "category id 7 is duplicated (tumour and cyst)"),
        (lambda c: c.pop("categories"), "'categories' is missing"),
        (lambda c: c.update(images={}), "'images' is no list of objects"),
    ],
)
def test_mistakes_are_named_in_a_line(change: Callable[[Content], object], said: str, tmp_path: Path) -> None:
    line = refused(tmp_path, change)
    assert said in line
    assert "boxes.json" in line


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    data = one_file(tmp_path)
    text = (tmp_path / "boxes.json").read_text()
    (tmp_path / "boxes.json").write_text(text[: len(text) // 2])
    with pytest.raises(SuiteError, match=r"boxes\.json: no JSON, or cut off: "):
        _ = data.table


def test_an_image_of_another_size_than_its_entry_is_named(tmp_path: Path) -> None:
    content = coco_content(pictures())
    content["images"][0].update(width=999)
    data = one_file(tmp_path, content)
    with pytest.raises(SuiteError, match=r"scan0\.png: the image has \d+ x \d+ pixels, but its annotation says 999 x"):
        data.read(0)


def test_nuclei(shared_data: Path) -> None:
    root = shared_data / "dsb2018_nuclei"
    data = Coco(str(root), num_workers=0, split_file="splits/nuclei", batch_size=4, image_size=256)
    assert Counter(data.table.cases["split"]) == {"train": 106, "val": 26, "test": 34}
    assert (len(truth_of(data)), data.class_names) == (7581, ["nucleus"])
    content = json.loads((root / "instances.json").read_text())
    counts = Counter(annotation["image_id"] for annotation in content["annotations"])
    names = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
    train = set(data.table.cases["case_id"][data.rows("train")])
    most = max(count for image, count in counts.items() if names[image] in train)
    assert data.max_detections == int(np.ceil(1.5 * most)) > 300
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 256, 256)
    for boxes, scan in zip(batch["boxes"], batch["scan"], strict=True):
        height, width = scan["content_size"]
        assert max(height, width) == 256
        assert boxes.min() >= 0
        assert boxes.max() <= 256
