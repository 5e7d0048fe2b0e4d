"""Sets at the edge of what can be learnt from: ``plan`` gives a plan, or one line that says what is lacking."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from datamodules.readers.raster import write_png
from tests.tasks.cli.conftest import Run, one_line

TIFF: Any = {"photometric": "minisblack", "planarconfig": "contig"}
LARGE = r"50000 x 50000 pixels are more than the 268435456 allowed; cut it into tiles, or raise --data.max_pixels"
Make = Callable[[Path], list[str]]


def image(file: Path, seed: int, shape: tuple[int, ...] = (40, 48)) -> str:
    """Noise as PNG, as TIFF where it has many channels; the name of the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    if len(shape) > 2 and shape[2] > 4:
        file = file.with_suffix(".tif")
        tifffile.imwrite(file, array, **TIFF)
    else:
        write_png(file, array)
    return file.name


def large(file: Path) -> None:
    """A PNG whose header says 50,000 x 50,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    file.parent.mkdir(parents=True, exist_ok=True)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def classes(count: int, each: int, shape: tuple[int, ...] = (40, 48), *, patient: str | None = None) -> Make:
    """A table of so many classes with so many images each."""

    def make(root: Path) -> list[str]:
        rows = [
            {"path": image(root / f"{number:03d}.png", number, shape), "label": f"c{number % count}"}
            for number in range(count * each)
        ]
        frame = pd.DataFrame(rows)
        (frame if patient is None else frame.assign(patient_id=patient)).to_csv(root / "labels.csv", index=False)
        return ["classify", "--data", "ImageTable"]

    return make


def masks(count: int, shape: tuple[int, ...] = (40, 48), *, lesion: int = 1) -> Make:
    """Images with a lesion of a square's side."""

    def make(root: Path) -> list[str]:
        (root / "masks").mkdir()
        for number in range(count):
            image(root / "images" / f"{number:03d}.png", number, shape)
            mask = np.zeros(shape[:2], np.uint8)
            mask[number : number + lesion, 7 : 7 + lesion] = 1
            write_png(root / "masks" / f"{number:03d}.png", mask)
        return ["segment", "--data", "MaskFolder", "--data.mask_kind", "binary"]

    return make


def boxes(count: int, shape: tuple[int, ...] = (40, 48), *, side: int = 1, kinds: int = 1, some: bool = True) -> Make:
    """Images with a box each."""

    def make(root: Path) -> list[str]:
        content: dict[str, Any] = {"images": [], "annotations": []}
        content["categories"] = [{"id": kind + 1, "name": f"k{kind}"} for kind in range(kinds)]
        for number in range(count):
            name = image(root / f"{number:03d}.png", number, shape)
            content["images"].append({"id": number, "file_name": name, "height": shape[0], "width": shape[1]})
            box = {"id": number + 1, "image_id": number, "category_id": 1 + number % kinds, "iscrowd": 0}
            if some:
                content["annotations"].append({**box, "bbox": [5 + number % 20, 7, side, side]})
        (root / "boxes.json").write_text(json.dumps(content))
        return ["detect", "--data", "Coco", "--data.annotations", "boxes.json"]

    return make


def very_large(task: str) -> Make:
    """Five images of 50,000 x 50,000 pixels."""

    def make(root: Path) -> list[str]:
        names = [f"{number}.png" for number in range(6)]
        for name in names:
            large(root / "images" / name)
            if task == "segment":
                (root / "masks").mkdir(exist_ok=True)
                write_png(root / "masks" / name, np.ones((8, 8), np.uint8))
        rows = [{"path": f"images/{name}", "label": "ab"[number % 2]} for number, name in enumerate(names)]
        pd.DataFrame(rows).to_csv(root / "labels.csv", index=False)
        content = {
            "images": [
                {"id": number, "file_name": name, "height": 50_000, "width": 50_000}
                for number, name in enumerate(names)
            ],
            "categories": [{"id": 1, "name": "k"}],
            "annotations": [
                {"id": number + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "bbox": [5, 5, 90, 90]}
                for number in range(6)
            ],
        }
        (root / "boxes.json").write_text(json.dumps(content))
        flags = {
            "classify": ["ImageTable"],
            "segment": ["MaskFolder", "--data.mask_kind", "binary"],
            "detect": ["Coco", "--data.annotations", "boxes.json"],
        }
        return [task, "--data", *flags[task]]

    return make


# What is planned, and what is lacking.
PLANNED: dict[str, Make] = {
    "lesions of one pixel": masks(12),
    "boxes of one pixel": boxes(12),
    "12 channels, classes": classes(2, 8, (40, 48, 12)),
    "12 channels, masks": masks(10, (40, 48, 12), lesion=6),
    "12 channels, boxes": boxes(10, (40, 48, 12), side=8),
    "one class of boxes": boxes(10, side=9),
    "100 classes of boxes": boxes(200, (24, 24), side=6, kinds=100),
}
LACKING: dict[str, tuple[Make, str]] = {
    "3 images, classes": (classes(3, 1), "none fits into so small a test part"),
    "3 images, masks": (masks(3), "--data.folds 5: only 2 patients"),
    "3 images, boxes": (boxes(3), "--data.folds 5: only 2 patients"),
    "one class": (classes(1, 20), "has one class only ('c0'): there is nothing to learn: add cases of another class"),
    "one patient": (classes(2, 10, patient="p"), "need a patient each: add patients"),
    "100 classes of 2 images": (classes(100, 2, (8, 8)), "has no training case, nor have "),
    "no box": (boxes(10, some=False), "training images has a box: there is nothing to learn: add annotations"),
    "empty masks": (masks(10, lesion=0), "training masks shows a class: there is nothing to learn: add masks"),
    "50,000 x 50,000, classes": (very_large("classify"), LARGE),
    "50,000 x 50,000, masks": (very_large("segment"), LARGE),
    "50,000 x 50,000, boxes": (very_large("detect"), LARGE),
}


@pytest.mark.parametrize("name", PLANNED)
def test_there_is_a_plan(name: str, run_task: Run, tmp_path: Path) -> None:
    task, *flags = PLANNED[name](tmp_path)
    status, out, err = run_task(task, "plan", *flags, "--data.root", tmp_path)
    assert (status, "error:" in err) == (0, False), err
    epochs = re.search(r"^--trainer\.max_epochs (\d+)$", out, re.MULTILINE)
    if task == "classify" and epochs is None:  # few images, and weights are here: a head is fitted, without epochs
        assert "--data.cache features" in out.splitlines()
        return
    assert epochs is not None
    assert int(epochs[1]) >= 1


@pytest.mark.parametrize("name", LACKING)
def test_what_is_lacking_is_one_line(name: str, run_task: Run, tmp_path: Path) -> None:
    make, says = LACKING[name]
    task, *flags = make(tmp_path)
    status, out, err = run_task(task, "plan", *flags, "--data.root", tmp_path)
    assert (status, out) == (2, "")
    assert says in one_line(err)


@pytest.mark.parametrize(
    ("make", "mend"),
    [
        (masks(3), ["--data.folds", "2"]),
        (boxes(3, side=8), ["--data.folds", "2"]),
    ],
)
def test_the_mend_that_a_line_names_gives_a_plan(make: Make, mend: list[str], run_task: Run, tmp_path: Path) -> None:
    task, *flags = make(tmp_path)
    assert run_task(task, "plan", *flags, "--data.root", tmp_path)[0] == 2
    status, out, err = run_task(task, "plan", *flags, "--data.root", tmp_path, *mend)
    assert (status, "trainer.max_epochs" in out) == (0, True), err
