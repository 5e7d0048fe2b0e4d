"""``show`` on the command line: which cases are on the page, what it says of them, and what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datamodules.phantoms.labels import Phantoms as LabelledPhantoms
from datamodules.phantoms.masks import Phantoms as MaskedPhantoms
from datamodules.types import Draw
from tests.bids_on_disk import write_microscopy, write_study
from tests.datamodules.boxes_on_disk import pictures, write_box_table, write_coco, write_voc, write_yolo
from tests.tasks.cli.conftest import KINDS, Run, draw_table, one_line
from tests.tasks.cli.shown_page import ShownPage
from tests.tasks.cli.test_dicom import draw_study
from tests.tasks.cli.test_segment import draw_cells, draw_volumes

FEW = ["--data.num_patients", "12", "--data.image_size", "32"]
NO_WORKERS = ["--data.num_workers", "0"]


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("classify", ["benign", "malignant"]),
        ("segment", ["organ", "benign", "malignant"]),
        ("detect", ["benign", "malignant"]),
    ],
)
def test_drawn_cases_show_every_class(run_task: Run, task: str, names: list[str]) -> None:
    flags = ["--data.num_patients", "24", "--data.image_size", "32", "--cases", "4"]
    status, out, err = run_task(task, "show", *flags, "--output", "pages/show.html")
    assert (status, out) == (0, "4 cases shown: pages/show.html\n"), err
    assert err.startswith("data: Phantoms")
    assert len(err.splitlines()) == 1
    page = ShownPage(Path("pages/show.html"))
    assert len(set(page.names)) == 4
    assert all("training part" in section.about and "patient p" in section.about for section in page.sections)
    for name in names:
        assert any(name in section.about for section in page.sections)
    for section in page.sections:
        titles = [figure.title for figure in section.figures]
        assert titles == ["as stored", "as the model sees it", "augmented, as training sees it"]
        assert len(section.figures[2].small) == 4
        assert section.figure("as stored").lines[0] == "96 x 96 pixels, grey, uint16"
        assert section.figure("as the model").lines[0] == "32 x 32 pixels, 1 channel"
    assert page.tags & {"script", "link", "iframe"} == set()
    assert "http" not in page.source.replace("http-equiv", "")


def test_equal_seeds_show_equal_cases(run: Run) -> None:
    def page(name: str, *flags: str) -> ShownPage:
        assert run("show", *FEW, *flags, "--cases", "3", "--augmented", "1", "--output", f"{name}.html")[0] == 0
        return ShownPage(Path(f"{name}.html"))

    first, again, other = page("first"), page("again"), page("other", "--seed_everything", "7")
    assert first.names == again.names
    assert first.names != other.names
    for one, two in zip(first.sections, again.sections, strict=True):
        assert [figure.small for figure in one.figures] == [figure.small for figure in two.figures]


def test_the_picture_is_what_the_data_set_hands_over(run_task: Run) -> None:
    """Of 32 pixels, in a picture of 512: each is a block of 16 x 16, whose middle is looked at."""
    labelled = LabelledPhantoms(num_patients=12, image_size=32)
    masked = MaskedPhantoms(num_patients=12, image_size=32)
    for task, data, place in (("classify", labelled, 0), ("segment", masked, 1)):
        assert run_task(task, "show", *FEW, "--cases", "2", "--augmented", "0", "--output", f"{task}.html")[0] == 0
        for section in ShownPage(Path(f"{task}.html")).sections:
            row = list(data.table.cases["case_id"]).index(section.name)
            sample = data.dataset(np.array([row])).sample(Draw(0))["image"]
            picture = section.figure("as the model").picture(place)
            assert picture.shape == (512, 512, 3)
            for channel in range(3):
                assert np.abs(picture[8::16, 8::16, channel] - sample.numpy()[0] * 255).max() <= 0.501


def test_cases_by_name_and_by_part(run: Run) -> None:
    data = LabelledPhantoms(num_patients=12)
    test, train = (data.table.cases["case_id"][data.rows(part)].tolist() for part in ("test", "train"))
    asked = [test[0], train[0], test[0]]
    status, out, err = run("show", *FEW, "--case_id", *asked, "--output", "named.html")
    assert (status, out) == (0, "2 cases shown: named.html\n"), err
    page = ShownPage(Path("named.html"))
    assert page.names == asked[:2]
    assert "test part" in page.sections[0].about
    assert [len(section.figures) for section in page.sections] == [2, 3]  # test is never augmented
    assert run("show", *FEW, "--part", "test", "--cases", "100", "--output", "test.html")[0] == 0
    assert sorted(ShownPage(Path("test.html")).names) == sorted(test)
    assert run("show", *FEW, "--data.split", "all_test", "--cases", "2", "--output", "all.html")[0] == 0
    assert all("test part" in section.about for section in ShownPage(Path("all.html")).sections)
    assert run("show", *FEW, "--data.augment", "none", "--cases", "1", "--output", "plain.html")[0] == 0
    (section,) = ShownPage(Path("plain.html")).sections
    assert "training shows it as it is" in section.about
    assert len(section.figures) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_target(run: Run, table_root: Path, kind: str) -> None:
    data = ["--data", "ImageTable", "--data.root", table_root, *NO_WORKERS, *KINDS[kind]]
    status, _, err = run("show", *data, "--cases", "6", "--augmented", "0", "--output", "show.html")
    assert status == 0, err
    page = ShownPage(Path("show.html"))
    said = [section.about.split(" ; ")[0] for section in page.sections]
    classes = {"multiclass": ["brain", "heart", "lung"], "multilabel": ["mass", "edema", "nodule"], "ordinal": "0123"}
    for name in classes.get(kind, ["healthy", "ill"] if kind == "binary" else ["size"]):
        assert any(name in text for text in said)
    if kind == "regression":  # from the smallest to the largest
        numbers = sorted(float(text.removeprefix("size ").split(";")[0]) for text in said)
        assert numbers[-1] - numbers[0] > 10


def test_what_data_say_is_text(run: Run) -> None:
    """Names of cases, classes, patients and folders."""
    root = draw_table(Path("<b>root").resolve())
    frame = pd.read_csv(root / "labels.csv")
    evil = "<script>alert('x')</script>"
    frame["finding"] = frame["finding"].replace("ill", evil)
    frame["patient_id"] = evil + frame["patient_id"].astype("str")
    frame["case_id"] = [f"{evil}&{number}" for number in range(len(frame))]
    frame.to_csv(root / "labels.csv", index=False)
    data = ["--data", "ImageTable", "--data.root", root, *NO_WORKERS, *KINDS["binary"]]
    status, _, err = run("show", *data, "--cases", "2", "--output", "show.html")
    assert status == 0, err
    page = ShownPage(Path("show.html"))
    assert page.tags & {"script"} == set()
    assert "<b>root" not in page.source
    assert all(name.startswith(f"{evil}&") for name in page.names)
    assert any(evil in section.about.split(";")[0] for section in page.sections)


def test_mistakes_are_one_line(run: Run) -> None:
    def said(*flags: object) -> str:
        status, _, err = run("show", *FEW, *flags)
        assert status == 2
        return one_line(err).removeprefix("error: ")

    out = ["--output", "show.html"]
    assert said() == "--output: name a file for the page, such as show.html"
    assert said("--output", "shown") == "--output shown: the page is HTML: give a name such as shown.html"
    assert said(*out, "--cases", "0") == "--cases 0: show at least 1"
    assert said(*out, "--augmented", "-1").startswith("--augmented -1: give 0 for none")
    line = said(*out, "--case_id", "phantom/0001/9")
    assert re.fullmatch(r"--case_id phantom/0001/9: no such case: did you mean 'phantom/0001/\d'\?", line)
    assert "--cases is of drawn cases" in said(*out, "--cases", "3", "--case_id", "phantom/0001/0")
    assert "--part" in said(*out, "--part", "tset")
    assert said(*out, "--data.split", "all_test", "--part", "val") == "--part val: no case is in it: there are test"
    assert said(*out, "--case", "3") == "unknown flag --case: did you mean --cases?"
    assert not Path("show.html").exists()
    Path("show.html").write_text("mine")
    assert said(*out) == "--output show.html: exists already: give a new file"
    assert Path("show.html").read_text() == "mine"
    Path("folder").mkdir()
    assert said("--output", "folder") == ("--output folder: is a folder: name a file in it, such as folder/show.html")
    Path("file").touch()
    assert said("--output", "file/show.html").startswith("--output file/show.html: cannot be written")


# Every other data class, on small data of its own.


def test_masks_in_folders(run_task: Run) -> None:
    draw_cells(Path("scans"))
    flat = ["--data", "MaskFolder", "--data.root", "scans", "--data.classes", "background,cell", *NO_WORKERS]
    status, _, err = run_task("segment", "show", *flat, "--cases", "2", "--output", "flat.html")
    assert status == 0, err
    page = ShownPage(Path("flat.html"))
    assert all(re.search(r"cell: \d+(\.\d)? %", section.about) for section in page.sections)
    assert [line for line in page.sections[0].figure("as stored").lines if "shown" in line] == ["shown from 0 to 255"]
    patches = ["--data.patch_size", "24", "--data.zoom", "2"]
    assert run_task("segment", "show", *flat, *patches, "--cases", "1", "--output", "patches.html")[0] == 0
    (section,) = ShownPage(Path("patches.html")).sections
    assert section.figure("as the model").lines[0] == "24 x 24 pixels, 1 channel"
    assert any("patch in the middle" in line for line in section.figure("as the model").lines)


@pytest.mark.parametrize("overlapping", [False, True])
def test_volumes(run_task: Run, overlapping: bool) -> None:
    draw_volumes(Path("volumes"))
    data = ["--data", "Volumes", "--data.root", "volumes", "--data.classes", "background,organ,core", *NO_WORKERS]
    regions = ["--data.regions", '{"whole": ["organ", "core"], "core": ["core"]}'] if overlapping else []
    flags = [*data, *regions, "--data.neighbors", "1", "--cases", "2", "--output", "show.html"]
    status, _, err = run_task("segment", "show", *flags)
    assert status == 0, err
    page = ShownPage(Path("show.html"))
    for section in page.sections:
        stored, seen = section.figure("as stored"), section.figure("as the model")
        assert re.match(r"\d+ x \d+ x \d+ voxels, axes \w{3}, int16", stored.lines[0])
        assert "from left to right: axial, coronal, sagittal" in stored.lines
        assert "from left to right: 1 slice below, the slice itself, 1 slice above" in seen.lines
        assert re.fullmatch(r"as the model sees it: slice \d+ of \d+", seen.title)
        assert len(seen.large) == 2  # with masks, and without
        assert "core: " in section.about
        assert ("whole: " if overlapping else "organ: ") in section.about
    assert ("as the model knows them" in page.text) == overlapping


def test_series_and_windows(run_task: Run) -> None:
    draw_study(Path("study"))
    data = ["--data", "Volumes", "--data.root", "study", "--data.window", "soft,lung", "--data.folds", "2"]
    status, _, err = run_task("segment", "show", *data, *NO_WORKERS, "--cases", "1", "--output", "show.html")
    assert status == 0, err
    page = ShownPage(Path("show.html"))
    (section,) = page.sections
    assert "from left to right: window soft 40:400, window lung -600:1500" in section.figure("as the model").lines
    assert "the ends of window soft 40:400, window lung -600:1500" in page.text
    assert not any(name in page.source for name in ("SECRET", "Doe"))


@pytest.mark.parametrize(("name", "write"), [("Coco", write_coco), ("Voc", write_voc), ("Yolo", write_yolo),
                                             ("BoxTable", write_box_table)])  # fmt: skip
def test_boxes_of_every_format(run_task: Run, name: str, write: object) -> None:
    assert callable(write)
    root = write(Path("boxes").resolve(), pictures(ignored=name in ("Coco", "Voc")))
    table = ["--data.table", "boxes.csv"] if name == "BoxTable" else []
    flags = ["--data", name, "--data.root", root, *table, *NO_WORKERS, "--cases", "20", "--output", "show.html"]
    status, _, err = run_task("detect", "show", *flags)
    assert status == 0, err
    page = ShownPage(Path("show.html"))
    assert len(page.sections) == 6
    for section in page.sections:
        one = next(one for one in pictures() if section.name.endswith(one.name))
        for label in {box.label for box in one.boxes}:
            assert f"{label}: " in section.about or "ignored: 1" in section.about
    assert any("no box" in section.about for section in page.sections)
    assert any("filled up" in line for section in page.sections for line in section.figure("as the model").lines)


def test_bags_of_images_and_of_slices(run: Run) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(48):
        Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8)).save(f"{number}.png")
        rows.append({"path": f"{number}.png", "case_id": f"lesion {number // 4}", "label": "ab"[number // 4 % 2]})
    pd.DataFrame(rows).to_csv("labels.csv", index=False)
    data = ["--data", "ImageTable", "--data.root", ".", *NO_WORKERS, "--model.aggregate", "mean", "--data.folds", "2"]
    status, _, err = run("show", *data, "--data.bag_limit", "3", "--cases", "2", "--output", "show.html")
    assert status == 0, err
    page = ShownPage(Path("show.html"))
    assert sorted(section.about[0] for section in page.sections) == ["a", "b"]
    for section in page.sections:
        assert [figure.title for figure in section.figures] == [
            *["as stored"] * 3, *(f"as the model sees it: image {number} of 3" for number in (1, 2, 3)),
            "augmented, as training sees it",
        ]  # fmt: skip


# On scans of others.


def test_hippocampi_in_a_study_and_as_bags(run_task: Run, shared_data: Path) -> None:
    write_study(Path("study"), shared_data, subjects=5)
    bids = ["--data", "Bids", "--data.root", "study", "--data.suffix", "T1w", "--data.folds", "3", *NO_WORKERS]
    flags = [*bids, "--data.masks", "dseg", "--cases", "2", "--output", "masks.html"]
    status, _, err = run_task("segment", "show", *flags)
    assert status == 0, err
    for section in ShownPage(Path("masks.html")).sections:
        assert "anterior: " in section.about
        assert "posterior: " in section.about
        assert "patient sub-" in section.about or "patient " in section.about
    flags = [*bids, "--data.label_columns", "sex", "--model.aggregate", "max", "--data.bag_limit", "8"]
    status, _, err = run_task("classify", "show", *flags, "--cases", "2", "--output", "bags.html")
    assert status == 0, err
    page = ShownPage(Path("bags.html"))
    assert {section.about[0] for section in page.sections} == {"F", "M"}
    assert all("axial" in section.figure("as stored").lines[-1] for section in page.sections)
    assert sum("one of 8" in figure.title for figure in page.sections[0].figures) == 6
    status, _, err = run_task(
        "classify", "show", *bids, "--data.label_columns", "sex", "--cases", "1", "--output", "slices.html"
    )
    assert status == 0, err


def test_nuclei_in_a_study_and_as_boxes(run_task: Run, shared_data: Path) -> None:
    write_microscopy(Path("cells"), shared_data, subjects=5)
    data = ["--data", "BidsImages", "--data.root", "cells", "--data.folds", "2", *NO_WORKERS]
    status, _, err = run_task("segment", "show", *data, "--cases", "2", "--output", "masks.html")
    assert status == 0, err
    assert all("nucleus: " in section.about for section in ShownPage(Path("masks.html")).sections)
    root = shared_data / "dsb2018_nuclei"
    for folder in ("images", "labels"):
        Path("few", folder).mkdir(parents=True)
        for file in sorted((root / folder).iterdir())[:10]:
            shutil.copyfile(file, Path("few", folder, file.name))
    data = ["--data", "InstanceMasks", "--data.root", "few", "--data.folds", "2", *NO_WORKERS]
    status, _, err = run_task("detect", "show", *data, "--cases", "2", "--output", "boxes.html")
    assert status == 0, err
    assert all(re.search(r": \d+", section.about) for section in ShownPage(Path("boxes.html")).sections)


def test_breasts_and_radiographs(run: Run, shared_data: Path) -> None:
    data = ["--data", "MedMNIST", "--data.root", shared_data / "medmnist", "--data.name", "breastmnist", *NO_WORKERS]
    status, _, err = run("show", *data, "--cases", "2", "--output", "breast.html")
    assert status == 0, err
    page = ShownPage(Path("breast.html"))
    assert {section.about.split(" ; ")[0].removesuffix(";") for section in page.sections} == {
        "malignant", "normal, benign",
    }  # fmt: skip
    for folder, source in (("a", "train/0_normal"), ("b", "train/1_abnormal")):
        Path("few", folder).mkdir(parents=True)
        for file in sorted((shared_data / "nih_cxr64" / source).iterdir())[:12]:
            shutil.copyfile(file, Path("few", folder, file.name))
    flags = ["--data", "ImageFolder", "--data.root", "few", "--data.patient_pattern", r"(\d+)_", *NO_WORKERS]
    status, _, err = run("show", *flags, "--data.folds", "2", "--cases", "2", "--output", "chest.html")
    assert status == 0, err
    assert [section.about[0] for section in ShownPage(Path("chest.html")).sections] in (["a", "b"], ["b", "a"])
