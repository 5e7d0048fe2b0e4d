"""Mistakes in the user's files: one line that names the file and the mend, exit status 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.tasks.cli.conftest import KINDS, TINY, Run, draw_table, one_line
from tests.tasks.cli.mistakes import Mistake, cell, check, cut, flat, named, plain, replaced, text

RAW = bytes(range(256))
TABLE = "data/labels.csv"
COCO = "data/annotations/instances_train.json"
XML = "data/Annotations/scan1.xml"
YOLO = "data/labels/train/scan1.txt"
VOLUME, LABELS = "data/imagesTr/v00.nii.gz", "data/labelsTr/v00.nii.gz"
AGAIN = "copy or fetch it again, or leave it out"


def without(column: str) -> None:
    frame = pd.read_csv(TABLE, dtype=str)
    frame.drop(columns=column).to_csv(TABLE, index=False)


def first_annotation(**values: object) -> None:
    content = json.loads(Path(COCO).read_text())
    content["annotations"][0] |= values
    Path(COCO).write_text(json.dumps(content))


def only(folder: str, *files: str) -> None:
    """A folder of files that hold no image."""
    Path(folder).mkdir()
    for name in files:
        (Path(folder) / name).write_bytes(RAW)


def loosened() -> None:
    """Images that lie directly in the folder."""
    for file in sorted(Path("data").rglob("*.png")):
        file.rename(f"data/{file.name}")
    Path("data/ill").rmdir()
    Path("data/well").rmdir()


def sorted_again() -> None:
    """A folder for each of two classes."""
    for number, file in enumerate(sorted(Path("data").glob("*.png"))):
        folder = Path(f"data/{number % 2}")
        folder.mkdir(exist_ok=True)
        file.rename(folder / file.name)


def put_aside() -> None:
    """Images elsewhere, and what cannot be read in their place."""
    Path("data/images").rename("images")
    only("data/images", "a.heic", "b.heic")


def put_back() -> None:
    """Images where they were."""
    shutil.rmtree("data/images")
    Path("images").rename("data/images")


def on_another_grid() -> None:
    shutil.copy(LABELS, "kept")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), LABELS)


def filled(file: str, value: int) -> None:
    """A mask of one value, on the grid that it has."""
    mask = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.full(mask.shape, value, np.uint8), mask.affine), file)


IMAGES = {
    "empty image": Mistake(
        ["data/ill/p00.png", "the file is empty"], AGAIN, data="ImageFolder", spoil=text("data/ill/p00.png", ""),
        repair=flat("data/ill/p00.png"),
    ),
    "image cut off": Mistake(
        ["data/ill/p00.png", "cut off"], AGAIN, data="ImageFolder", spoil=cut("data/ill/p00.png", 20),
        repair=flat("data/ill/p00.png"),
    ),
    "image cut off, left out": Mistake(
        ["data/ill/p00.png", "1 of 12 cases"], "--data.skip_unreadable true", [], ["--data.skip_unreadable", "true"],
        data="ImageFolder", spoil=cut("data/ill/p00.png", 60),
    ),
    "no image": Mistake(
        ["data/ill/p00.png", "not a PNG, JPEG, TIFF or BMP file"], AGAIN, data="ImageFolder",
        spoil=text("data/ill/p00.png", "hello"), repair=lambda: Path("data/ill/p00.png").unlink(),
    ),
    "header of PNG alone": Mistake(
        ["data/ill/p00.png", "damaged"], AGAIN, data="ImageFolder",
        spoil=text("data/ill/p00.png", b"\x89PNG\r\n\x1a\n" + bytes(40)), repair=flat("data/ill/p00.png"),
    ),
    "JPEG cut off": Mistake(
        ["data/ill/x.jpg", "cut off"], AGAIN, data="ImageFolder",
        spoil=lambda: (flat("data/ill/x.jpg")(), cut("data/ill/x.jpg", 200)()), repair=flat("data/ill/x.jpg"),
    ),
    "empty DICOM": Mistake(
        ["data/ill/x.dcm", "the file is empty"], AGAIN, data="ImageFolder", spoil=text("data/ill/x.dcm", ""),
        repair=lambda: Path("data/ill/x.dcm").unlink(),
    ),
    "image too large": Mistake(
        ["32 x 32 pixels", "the 1000 allowed"], "raise --data.max_pixels", ["--data.max_pixels", "1000"],
        ["--data.max_pixels", "2000"], data="ImageFolder",
    ),
    "one class": Mistake(
        ["one class only ('ill')"], "add cases of another class", data="ImageFolder",
        spoil=lambda: Path("data/well").rename("well"), repair=lambda: Path("well").rename("data/well"),
    ),
    "class without images": Mistake(
        ["data/sick", "2 .heic, 1 .txt passed over"], "remove the folder", data="ImageFolder",
        spoil=lambda: only("data/sick", "a.heic", "b.heic", "c.txt"),
        repair=lambda: shutil.rmtree("data/sick"),
    ),
    "images without class folders": Mistake(
        ["data: 12 images lie directly in it"], "one folder per class", data="ImageFolder",
        spoil=loosened, repair=sorted_again,
    ),
    "channels": Mistake(
        ["has 1 channel, but the model takes 2"], "give --data.channels 1", ["--data.channels", "2"],
        ["--data.channels", "1"], data="ImageFolder",
    ),
}  # fmt: skip
TABLES = {
    "empty table": Mistake(
        ["data/labels.csv", "is empty"], "write the names of columns",
        spoil=lambda: shutil.move(TABLE, "kept.csv") and text(TABLE, "")(),
        repair=lambda: shutil.move("kept.csv", TABLE),
    ),
    "names of columns alone": Mistake(
        ["data/head.csv", "no rows"], "write some", ["--data.table", "head.csv"], ["--data.table", "labels.csv"],
        spoil=text("data/head.csv", "path,finding\n"),
    ),
    "quote that stays open": Mistake(
        ["data/labels.csv", 'a quote (")'], "close or remove it", spoil=replaced(TABLE, "images/p000_0",
        '"images/p000_0'),
        repair=replaced(TABLE, '"', ""),
    ),
    "more cells than columns": Mistake(
        ["data/labels.csv", "line 3"], "between quotes", spoil=replaced(TABLE, "images/p000_1.png,",
        "images/p000_1.png,a,b,"),
        repair=replaced(TABLE, "images/p000_1.png,a,b,", "images/p000_1.png,"),
    ),
    "damaged Parquet": Mistake(
        ["t.parquet", "damaged"], "save it as CSV", ["--data.table", "t.parquet"], ["--data.table", "labels.csv"],
        spoil=text("data/t.parquet", RAW),
    ),
    "damaged workbook": Mistake(
        ["t.xlsx", "damaged"], "save its sheet as 'CSV UTF-8'", ["--data.table", "t.xlsx"], ["--data.table",
        "labels.csv"],
        spoil=text("data/t.xlsx", RAW),
    ),
    "no table by its name": Mistake(
        ["labels.json"], ".csv", ["--data.table", "labels.json"], ["--data.table", "labels.csv"],
        spoil=text("data/labels.json", "{}"),
    ),
    "empty label": Mistake(
        ["labels.csv", "'finding'", "row 5"], "give each case a label", spoil=cell("finding", None),
        repair=cell("finding", "ill"),
    ),
    "label that is none": Mistake(
        ["labels.csv", "'finding'", "row 5", "'-1'"], "list it as a class in --data.class_names",
        spoil=cell("finding", "-1"), mended=["--data.class_names", "[healthy, ill, '-1']", "--data.folds", "2"],
        repair=lambda: [cell("finding", "-1", row)() for row in (1, 9, 13, 17)],
    ),
    "label of several": Mistake(
        ["labels.csv", "'mass'", "row 5", "'perhaps'"], "correct it", ["--data.label_columns", "mass,edema"],
        spoil=cell("mass", "perhaps"), repair=cell("mass", "1"),
    ),
    "number that is none": Mistake(
        ["labels.csv", "'size'", "row 5", "'big'"], "correct it",
        ["--data.label_columns", "size", "--data.target", "regression"], spoil=cell("size", "big"),
        repair=cell("size", "3"),
    ),
    "three classes of two": Mistake(
        ["labels.csv", "'organ'", "3 classes"], "--data.target multiclass",
        ["--data.label_columns", "organ", "--data.target", "binary"],
        ["--data.label_columns", "organ", "--data.target", "multiclass"],
    ),
    "fractions for classes": Mistake(
        ["labels.csv", "'size'", "fractions"], "give --data.target regression", ["--data.label_columns", "size"],
        ["--data.label_columns", "size", "--data.target", "regression"],
    ),
    "path of nothing": Mistake(
        ["labels.csv", "images/gone.png", "1 of 24"], "correct the path", spoil=cell("path", "images/gone.png"),
        repair=cell("path", "images/p002_0.png"),
    ),
    "empty path": Mistake(
        ["labels.csv", "'path'", "row 5"], "fill it", spoil=cell("path", None), repair=cell("path", "images/p002_0.png")
    ),
    "path that leads out": Mistake(
        ["labels.csv", "/etc/x.png", "number 5"], "give paths below it", spoil=cell("path", "/etc/x.png"),
        repair=cell("path", "images/p002_0.png"),
    ),
    "path that is none": Mistake(
        ["labels.csv", "number 5"], "correct it", spoil=cell("path", "x" * 300), repair=cell("path",
        "images/p002_0.png")
    ),
    "case twice": Mistake(
        ["labels.csv", "'images/p000_0' is duplicated"], "give each case its own name", spoil=cell("path",
        "images/p000_0.png"),
        repair=cell("path", "images/p002_0.png"),
    ),
    "columns swapped": Mistake(
        ["labels.csv", "'finding' for --data.path_column"], "the other way round",
        ["--data.path_column", "finding", "--data.label_columns", "path"],
        ["--data.path_column", "path", "--data.label_columns", "finding"],
    ),
    "part of no name": Mistake(
        ["labels.csv", "split 'tset' in row 5"], "write one of them", spoil=cell("split", "tset"),
        repair=cell("split", None)
    ),
    "split file of other data": Mistake(
        ["split.csv", "'images/p000_0' is not in it"], "leave --data.split_file split.csv out",
        ["--data.split_file", "split.csv"], [], spoil=text("split.csv", "case_id,split\nx,train\ny,val\n"),
    ),
    "split file without its columns": Mistake(
        ["split.csv", "no column case_id (found: id, split)"], "rename it", ["--data.split_file", "split.csv"],
        spoil=lambda: Path("split.csv").write_text(
            "id,split\n" + "".join(f"images/p{n // 2:03d}_{n % 2},{('train', 'val')[n > 15]}\n" for n in range(24))
        ),
        repair=replaced("split.csv", "id,split", "case_id,split"),
    ),
    "patients of no pattern": Mistake(
        ["--data.patient_pattern '(p'", "no regular expression"], "correct it", ["--data.patient_pattern", "(p"],
        ["--data.patient_pattern", r"(p\d+)"], spoil=lambda: without("patient_id"),
    ),
}  # fmt: skip
MASKS = {
    "mask of another size": Mistake(
        ["data/masks/c00.png", "20 x 20", "40 x 48"], "give a mask of the image's size", data="MaskFolder",
        spoil=flat("data/masks/c00.png", (20, 20)), repair=flat("data/masks/c00.png", (48, 40)),
    ),
    "no mask": Mistake(
        ["data/images/c00.png", "1 of 12 images"], "add it", data="MaskFolder",
        spoil=lambda: Path("data/masks/c00.png").unlink(), repair=flat("data/masks/c00.png", (48, 40)),
    ),
    "mask cut off": Mistake(
        ["data/masks/c00.png", "cut off"], AGAIN, data="MaskFolder", spoil=cut("data/masks/c00.png", 70),
        repair=flat("data/masks/c00.png", (48, 40)),
    ),
    "values that nobody named": Mistake(
        ["0, 1, 7", "data/masks/c00.png"], "--data.mask_kind instances", data="MaskFolder",
        spoil=lambda: Image.fromarray(np.full((40, 48), 7, np.uint8)).save("data/masks/c00.png"),
        mended=["--data.mask_kind", "instances"],
    ),
    "one class of a mask": Mistake(
        ["--data.classes", "not cell"], "give --data.classes background,", ["--data.classes", "cell"],
        ["--data.classes", "background,cell"], data="MaskFolder",
    ),
    "folder of masks": Mistake(
        ["data: neither masks/ nor labels/"], "--data.masks", data="MaskFolder",
        spoil=lambda: Path("data/masks").rename("data/truth"), mended=["--data.masks", "truth"],
    ),
    "no images": Mistake(
        ["data/images: no images in it", "2 .heic passed over"], "convert them to PNG", data="MaskFolder",
        spoil=put_aside, repair=put_back,
    ),
    "palette": Mistake(
        ["--data.palette p.json", "it is empty"], "mend it", ["--data.palette", "p.json"], data="MaskFolder",
        spoil=text("p.json", ""),
        repair=text("p.json", '{"background": [0, 0, 0], "cell": [1, 1, 1]}'),
    ),
    "volume cut off": Mistake(
        [VOLUME, "cut off"], AGAIN, data="Volumes", spoil=lambda: (shutil.copy(VOLUME, "kept"), cut(VOLUME, 300)()),
        repair=lambda: shutil.copy("kept", VOLUME),
    ),
    "empty volume": Mistake(
        [VOLUME, "the file is empty"], AGAIN, data="Volumes",
        spoil=lambda: (shutil.copy(VOLUME, "kept"), text(VOLUME, "")()), repair=lambda: shutil.copy("kept", VOLUME),
    ),
    "mask on another grid": Mistake(
        [LABELS, VOLUME, "4 x 4 x 4"], "resample it", data="Volumes",
        spoil=on_another_grid,
        repair=lambda: shutil.copy("kept", LABELS),
    ),
    "class of a volume": Mistake(
        [LABELS, "label value 9"], "leave it out with --data.ignore_value", data="Volumes",
        spoil=partial(filled, LABELS, 9), mended=["--data.ignore_value", "9"],
    ),
}  # fmt: skip
BOXES = {
    "COCO cut off": Mistake(
        [COCO, "no JSON, or cut off", "line 1"], "write it again", data="Coco",
        spoil=lambda: (shutil.copy(COCO, "kept"), cut(COCO, 200)()), repair=lambda: shutil.copy("kept", COCO),
    ),
    "COCO without images": Mistake(
        [COCO, "'images' is missing"], "give it a list", data="Coco", spoil=replaced(COCO, '"images"', '"pictures"'),
        repair=replaced(COCO, '"pictures"', '"images"'),
    ),
    "COCO of another class": Mistake(
        [COCO, "annotation 1", "category_id 99"], "correct the annotation", data="Coco",
        spoil=lambda: first_annotation(category_id=99), repair=lambda: first_annotation(category_id=3),
    ),
    "COCO without a box": Mistake(
        [COCO, "annotation 1", "bbox null"], "[x, y, width, height]", data="Coco",
        spoil=lambda: first_annotation(bbox=None), repair=lambda: first_annotation(bbox=[1, 1, 5, 5]),
    ),
    "VOC cut off": Mistake(
        [XML, "no XML, or cut off"], "write it again", data="Voc",
        spoil=lambda: (shutil.copy(XML, "kept"), cut(XML, 100)()), repair=lambda: shutil.copy("kept", XML),
    ),
    "VOC without a number": Mistake(
        [XML, "<bndbox/xmin> is 'x"], "mend or remove the object", data="Voc", spoil=replaced(XML, "<xmin>", "<xmin>x"),
        repair=replaced(XML, "<xmin>x", "<xmin>"),
    ),
    "YOLO in pixels": Mistake(
        [YOLO, "row 1", "'0 12 14 5 5'"], "divide pixels", data="Yolo", spoil=text(YOLO, "0 12 14 5 5\n"),
        repair=text(YOLO, "0 0.4 0.4 0.2 0.2\n"),
    ),
    "YOLO of another class": Mistake(
        [YOLO, "row 1", "unknown class 7"], "correct the line", data="Yolo", spoil=text(YOLO, "7 .5 .5 .1 .1\n"),
        repair=text(YOLO, "0 .5 .5 .1 .1\n"),
    ),
    "YOLO without a column": Mistake(
        [YOLO, "row 1", "3 columns"], "correct the line", data="Yolo", spoil=text(YOLO, "0 .5 .5\n"),
        repair=text(YOLO, "0 .5 .5 .1 .1\n"),
    ),
    "boxes that are no numbers": Mistake(
        ["data/boxes.csv", "row 2"], "correct them", data="BoxTable", spoil=cell("x1", "left", 1, "data/boxes.csv"),
        repair=cell("x1", "1", 1, "data/boxes.csv"),
    ),
}  # fmt: skip


@named(
    IMAGES,
    "empty image",
    "no image",
    "header of PNG alone",
    "JPEG cut off",
    "empty DICOM",
    "one class",
    "image too large",
)
def test_images(run_task: Run, one: Mistake) -> None:
    check(run_task, one)


@named(
    TABLES,
    "names of columns alone", "quote that stays open", "damaged Parquet", "no table by its name", "label that is none",
    "label of several", "number that is none", "empty path", "path that leads out", "path that is none",
    "split file without its columns", "fractions for classes", "patients of no pattern",
)  # fmt: skip
def test_tables(run_task: Run, one: Mistake) -> None:
    check(run_task, one)


@named(
    MASKS, "mask cut off", "values that nobody named", "one class of a mask", "folder of masks", "palette",
    "volume cut off",
    "empty volume", "class of a volume", "no mask",
)  # fmt: skip
def test_masks(run_task: Run, one: Mistake) -> None:
    check(run_task, one)


@named(
    BOXES, "COCO cut off", "COCO without images", "COCO without a box", "VOC cut off", "YOLO of another class",
    "YOLO without a column", "boxes that are no numbers",
)  # fmt: skip
def test_boxes(run_task: Run, one: Mistake) -> None:
    check(run_task, one)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_corrupt_image_is_named_also_from_inside_a_worker(run: Run, tmp_path: Path, workers: str) -> None:
    root = draw_table(tmp_path / "data", cases=80)
    # Not among the images that are looked at to find sizes and channels.
    flags = ["--data.image_size", "24", "--data.channels", "1", "--data.normalize", "none"]
    split = run("fit", "--data", "ImageTable", "--data.root", root, *KINDS["binary"], *TINY, "--run_dir", "a")
    assert split[0] == 0
    cases = pd.read_csv("a/split.csv", dtype=str)
    name = cases["case_id"][cases["split"] == "train"].iloc[-1] + ".png"
    file = root / name
    file.write_bytes(file.read_bytes()[:100])
    words = ["fit", "--data", "ImageTable", "--data.root", root, *KINDS["binary"], *TINY, *flags]
    words += ["--data.num_workers", workers, "--data.split_file", "a/split.csv"]
    status, _, err = run(*words)
    assert status == 2
    assert name in one_line(err)
    # Where files are not looked at first, training comes upon it, and says no less.
    status, _, err = run(*words, "--data.check_files", "false")
    assert status == 2
    line = plain(one_line(err))
    assert name in line
    assert line.endswith(AGAIN)


def test_a_name_that_is_not_utf8(run: Run) -> None:
    for number in range(12):
        flat(f"data/{'ab'[number % 2]}/{number}.png")()
    Path(b"data/a/\xff\xfe.png".decode(errors="surrogateescape")).write_bytes(Path("data/a/0.png").read_bytes())
    status, _, err = run("fit", "--data", "ImageFolder", "--data.root", "data", *TINY)
    assert status == 2
    assert "this name is not UTF-8: rename it" in plain(one_line(err))


def test_an_empty_class_folder(run: Run, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
    status, _, err = run("fit", "--data", "ImageFolder", "--data.root", tmp_path / "data", *TINY)
    assert status == 2
    assert "'cat'" in one_line(err)
