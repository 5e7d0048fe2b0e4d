"""The page of a check: what is drawn for each kind of data, pairs side by side, and nothing that data could break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.arrays.boxes import BoxedArrays
from datamodules.arrays.labels import LabelledArrays
from datamodules.arrays.masks import MaskedArrays
from datamodules.base import ScanDataModule
from datamodules.classification.image_table import ImageTable
from datamodules.phantoms import boxes, labels, masks
from datamodules.pictures.panels import class_colour
from datamodules.readers.raster import write_png
from datamodules.segmentation.volumes import Volumes
from tests.datamodules.checks.checking import findings
from tests.datamodules.pictures.reading import Page, pixels
from tests.datamodules.scans_on_disk import cohort, write_table
from tests.datamodules.volumes_on_disk import write_nifti

EVIL = "<script>alert(1)</script>"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (24, 32, 40), dtype=np.uint8)


def page_of(data: ScanDataModule, output: Path) -> Page:
    findings(data, output)
    page = Page((output / "check.html").read_text(encoding="utf-8"))
    opened = [one.attributes["popovertarget"] for one in page.of("button", class_="thumb")]
    names = [one.attributes["id"] for one in page.of("div", popover="")]
    assert set(opened) == set(names)
    assert len(names) == len(set(names))
    assert all(one.attributes["alt"] for one in page.of("img"))
    assert "<script" not in page.source
    assert "://" not in page.source
    return page


def of_class(page: Page) -> list[str]:
    """Headings of the classes whose cases are shown."""
    start = next(place for place, one in enumerate(page.elements) if one.attributes.get("id") == "cases")
    end = next(place for place, one in enumerate(page.elements) if one.attributes.get("id") == "plots")
    return [one.text for one in page.elements[start:end] if one.tag == "h3"]


def shows(page: Page, colour: tuple[int, ...]) -> int:
    """How many thumbnails have a colour."""
    found = [pixels(one.attributes["src"]) for one in page.of("img") if "loading" not in one.attributes]
    return sum(bool((picture.astype(int) - colour == 0).all(axis=2).any()) for picture in found)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A table whose words are markup, with two images that look the same in two parts, and two that are the same."""
    root = tmp_path_factory.mktemp("scans")
    frame = cohort().astype({"patient_id": "str"})
    frame["label"] = frame["label"].where(frame["label"] == "benign", EVIL)
    frame["path"] = [f"<b>{path}" for path in frame["path"]]
    frame["case_id"] = [f"{EVIL}{row}" for row in range(len(frame))]
    frame["patient_id"] = [f"<i>{patient}" for patient in frame["patient_id"]]
    frame["split"] = ["train"] * 30 + ["val"] * 15 + ["test"] * 15
    write_table(root, frame)
    smooth = np.kron(RNG.integers(0, 200, (4, 4)), np.ones((8, 8))).astype(np.uint8)
    for row, picture in ((3, smooth), (40, smooth + np.uint8(9)), (5, smooth.T), (50, smooth.T)):
        write_png(root / frame["path"][row], np.ascontiguousarray(picture))
    return page_of(ImageTable(str(root), num_workers=0), tmp_path_factory.mktemp("report"))


def test_both_images_of_a_near_duplicate_are_seen_with_name_patient_and_part(table: Page) -> None:
    (pair,) = [one for one in table.of("figure", class_="pair") if "looks like" in one.text]
    for words in (f"{EVIL}3", "patient <i>001", "part train", f"{EVIL}40", "patient <i>013", "part val"):
        assert words in pair.text
    place = table.elements.index(pair)
    first, second = [one for one in table.elements[place:] if one.tag == "img"][:2]
    near = pixels(first.attributes["src"]).astype(int), pixels(second.attributes["src"]).astype(int)
    assert np.abs(near[0] - near[1]).mean() < 8


def test_both_of_two_identical_images_are_seen(table: Page) -> None:
    (pair,) = [one for one in table.of("figure", class_="pair") if f"{EVIL}5 (train) = {EVIL}50 (test)" in one.text]
    assert "patient <i>016" in pair.text


def test_words_of_the_data_are_text(table: Page) -> None:
    assert of_class(table) == [EVIL, "benign"]
    assert "<b>p" not in table.source
    assert "<i>" not in table.source
    assert any(EVIL in one.attributes["alt"] for one in table.of("img"))
    assert any(EVIL in one.text for one in table.of("text")) or any(EVIL in one.text for one in table.of("td"))


def test_headings_go_down_step_by_step_and_links_lead_somewhere(table: Page) -> None:
    levels = [int(one.tag[1]) for one in table.elements if one.tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert max(np.diff(levels)) == 1
    names = {one.attributes["id"] for one in table.elements if "id" in one.attributes}
    links = {one.attributes["href"] for one in table.of("a")}
    assert links
    assert {link.removeprefix("#") for link in links} <= names


def test_plots_have_words_for_who_cannot_see_them(table: Page) -> None:
    said = [one.attributes["aria-label"] for one in table.of("svg", role="img")]
    assert f"Cases in train: {EVIL}: 15, benign: 15" in said
    assert [one.split(":")[0] for one in said][:2] == ["Sizes", "Channels"]
    assert any(one.startswith("Intensities of each image: lowest") for one in said)


def test_masks_of_a_clean_set_are_drawn_and_named(tmp_path: Path) -> None:
    mask = np.zeros(IMAGES.shape, np.uint8)
    mask[:, 4:12, 4:20] = 1
    mask[::2, 20:28, 6:30] = 2
    page = page_of(MaskedArrays(IMAGES, mask, classes=["ground", EVIL, "b"], num_workers=0), tmp_path / "one")
    assert of_class(page) == [EVIL, "b"]
    assert shows(page, class_colour(0)) == 8
    assert shows(page, class_colour(1)) >= 4
    assert {one.text.strip() for one in page.of("li")} >= {EVIL, "b"}
    regions = np.stack([mask == 1, mask == 2], axis=1).astype(np.uint8)
    page = page_of(MaskedArrays(IMAGES, regions, num_workers=0), tmp_path / "two")
    assert of_class(page) == ["1", "2"]
    assert shows(page, class_colour(0)) == 8


def test_boxes_are_drawn_and_images_without_one_are_a_group(tmp_path: Path) -> None:
    given = [np.array([[4.0, 5, 30, 28]]) if number % 3 else np.zeros((0, 4)) for number in range(24)]
    kinds = [[number % 3 - 1] * len(boxes) for number, boxes in enumerate(given)]
    page = page_of(BoxedArrays(IMAGES, given, kinds, classes=[EVIL, "cell"], num_workers=0), tmp_path)
    assert of_class(page) == [EVIL, "cell", "no box"]
    assert (shows(page, class_colour(0)), shows(page, class_colour(1))) == (4, 4)
    assert any(one.attributes["aria-label"].startswith("Sizes of boxes: width") for one in page.of("svg"))


def test_three_planes_of_a_volume_through_its_mask(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    for number in range(6):
        mask = np.zeros((24, 18, 12), np.uint8)
        mask[2:6, 3:7, 8:10] = 1
        write_nifti(root / f"imagesTr/v{number}.nii.gz", RNG.integers(0, 900, mask.shape).astype(np.int16))
        write_nifti(root / f"labelsTr/v{number}.nii.gz", mask)
    page = page_of(Volumes(str(root), num_workers=0, classes=["ground", "organ"], folds=2), tmp_path / "report")
    assert of_class(page) == ["organ"]
    assert len(page.of("figure", class_="several")) == 4
    assert "axial, coronal, sagittal" in page.of("img")[0].attributes["alt"]
    assert "24 x 18 x 12 voxels, 0.8 x 0.9 x 3 mm" in page.of("div", popover="")[0].text
    for picture in (pixels(one.attributes["src"]) for one in page.of("img", loading="lazy")):
        dark = (picture == 0).all(axis=(0, 2))  # what is between the planes
        planes = np.split(picture, np.flatnonzero(np.diff(dark.astype(int)) == 1) + 1, axis=1)
        assert len(planes) == 3
        assert all((np.abs(plane.astype(int) - class_colour(0)) < 40).all(axis=2).any() for plane in planes)


def test_cases_of_many_images_show_some_of_them(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    frame = cohort()
    frame["case_id"] = [f"study {patient}" for patient in frame["patient_id"]]
    write_table(root, frame)
    page = page_of(ImageTable(str(root), num_workers=0, bags=True), tmp_path / "report")
    assert of_class(page) == ["benign", "malignant"]
    assert len(page.of("figure", class_="several")) == 8
    assert "3 images, 3 of them shown" in page.of("div", popover="")[0].text


def test_several_labels_and_numbers_have_their_groups(tmp_path: Path) -> None:
    many = (RNG.random((24, 3)) > 0.6).astype(int)
    many[:3] = 0
    page = page_of(
        LabelledArrays(IMAGES, many, class_names=["a", "b", "c"], target="multilabel", num_workers=0), tmp_path / "one"
    )
    assert of_class(page) == ["a", "b", "c", "none of the labels"]
    page = page_of(LabelledArrays(IMAGES, RNG.random(24), target="regression", num_workers=0), tmp_path / "two")
    assert len(of_class(page)) == 4
    assert any(one.attributes["aria-label"].startswith("Targets: train") for one in page.of("svg"))


@pytest.mark.parametrize("kind", [labels.Phantoms, masks.Phantoms, boxes.Phantoms])
def test_phantoms_have_their_classes(kind: type[Any], tmp_path: Path) -> None:
    page = page_of(kind(num_patients=16, num_workers=0), tmp_path)
    assert len(of_class(page)) >= 2
    assert len(page.of("div", popover="")) >= 4


def test_files_are_shown_where_there_are_no_cases(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    write_table(root, cohort())
    page = page_of(ImageTable(str(root), path_column="file", num_workers=0), tmp_path / "report")
    assert of_class(page) == ["files"]
    assert len(page.of("button", class_="thumb")) == 8


def test_a_page_stays_small_however_many_classes_cases_and_findings_there_are(tmp_path: Path) -> None:
    count = 120
    images = RNG.integers(0, 256, (count, 150, 150, 3), dtype=np.uint8)
    images[count // 2 :] = 7  # constant, and all the same
    frame = pd.DataFrame({"path": [f"{number}.png" for number in range(count)], "label": np.arange(count) % 60})
    root = tmp_path / "scans"
    root.mkdir()
    for path, image in zip(frame["path"], images, strict=True):
        write_png(root / path, image)
    frame.to_csv(root / "labels.csv", index=False)
    page = page_of(ImageTable(str(root), num_workers=0), tmp_path / "report")
    assert len(page.source) < 14 << 20
    assert len(of_class(page)) == 48
    assert "12 further classes are not shown; " in page.source
    assert "left out, so that this page stays small" in page.source
    assert "without a picture, so that this page stays small" not in page.source  # a flat picture is few bytes
