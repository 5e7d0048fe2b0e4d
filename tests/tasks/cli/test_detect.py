"""Detection on the command line: every verb, three formats of one data set, and what users get wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tasks.evaluation.detection.metrics import evaluate_boxes
from tasks.evaluation.gallery.store import read_gallery
from tests.tasks.cli.conftest import TINY, Run, one_line
from tests.tasks.cli.test_processes import finish, start
from tests.tasks.cli.test_segment import FLAT, TINY_UNET, draw_cells

CLASSES = ("bright", "dark")
SIDE = 64
TINY_DETECTOR = [*TINY, "--model.channels", "16", "--data.batch_size", "4"]
DATA = {
    "Coco": ["--data", "Coco", "--data.root", "coco"],
    "Voc": ["--data", "Voc", "--data.root", "voc"],
    "Yolo": ["--data", "Yolo", "--data.root", "yolo"],
}
Boxes = dict[str, list[tuple[str, int, int, int, int]]]


@pytest.fixture
def detect(run_task: Run) -> Run:
    return partial(run_task, "detect")


def draw_squares(count: int = 24, seed: int = 0) -> tuple[dict[str, np.ndarray[Any, Any]], Boxes]:
    """Images with no to three bright or dark squares, and their boxes; every fifth image has none."""
    rng = np.random.default_rng(seed)
    images: dict[str, np.ndarray[Any, Any]] = {}
    boxes: Boxes = {}
    for case in range(count):
        image = np.clip(rng.normal(120, 8, (SIDE, SIDE)), 0, 255)
        found = []
        for corner in rng.permutation(4)[: 0 if case % 5 == 0 else rng.integers(1, 4)]:
            side = int(rng.integers(12, 26))
            y, x = (int(32 * part + rng.integers(0, 32 - side + 1)) for part in divmod(int(corner), 2))
            name = CLASSES[int(rng.integers(2))]
            image[y : y + side, x : x + side] = 220 if name == "bright" else 30
            found.append((name, x, y, x + side, y + side))
        images[f"s{case:02d}"], boxes[f"s{case:02d}"] = image.astype(np.uint8), found
    return images, boxes


def part_of(case: str) -> str:
    return ("train", "train", "train", "val", "test")[int(case[1:]) * 7 % 5]


def write_all(images: dict[str, np.ndarray[Any, Any]], boxes: Boxes) -> None:
    """The same data set as COCO JSON, Pascal VOC and YOLO."""
    for case, pixels in images.items():
        for folder in ("coco/images", "voc/JPEGImages", f"yolo/{part_of(case)}/images"):
            file = Path(folder) / f"{case}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    for part in ("train", "val", "test"):
        names = [case for case in images if part_of(case) == part]
        numbers = {case: number for number, case in enumerate(names)}
        annotations = [
            {
                "id": number, "image_id": numbers[case], "category_id": 1 + CLASSES.index(name), "iscrowd": 0,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
            }
            for number, (case, (name, x1, y1, x2, y2)) in enumerate(
                (case, box) for case in names for box in boxes[case]
            )
        ]  # fmt: skip
        listed = [{"id": numbers[case], "file_name": f"{case}.png", "width": SIDE, "height": SIDE} for case in names]
        Path("coco/annotations").mkdir(exist_ok=True)
        Path(f"coco/annotations/instances_{part}.json").write_text(
            json.dumps({"images": listed, "annotations": annotations, "categories": categories})
        )
        Path("voc/ImageSets/Main").mkdir(parents=True, exist_ok=True)
        Path(f"voc/ImageSets/Main/{part}.txt").write_text("".join(f"{case}\n" for case in names))
    for case, found in boxes.items():
        Path("voc/Annotations").mkdir(exist_ok=True)
        objects = "".join(
            f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for name, x1, y1, x2, y2 in found
        )
        Path(f"voc/Annotations/{case}.xml").write_text(
            f"<annotation><filename>{case}.png</filename><size><width>{SIDE}</width><height>{SIDE}</height>"
            f"<depth>1</depth></size>{objects}</annotation>"
        )
        label = Path(f"yolo/{part_of(case)}/labels/{case}.txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            (CLASSES.index(name), (x1 + x2) / 2 / SIDE, (y1 + y2) / 2 / SIDE, (x2 - x1) / SIDE, (y2 - y1) / SIDE)
            for name, x1, y1, x2, y2 in found
        ]
        label.write_text("".join(" ".join(f"{value:.10g}" for value in row) + "\n" for row in rows))
    Path("yolo/data.yaml").write_text(
        "train: train/images\nval: val/images\ntest: test/images\nnames: [bright, dark]\n"
    )


@pytest.mark.usefixtures("charts")
@pytest.mark.parametrize(
    "detector", ["retinanet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fcos", "faster_rcnn"))]
)
def test_every_verb(detect: Run, detector: str) -> None:
    write_all(*draw_squares())
    status, out, err = detect(
        "fit",
        *DATA["Coco"],
        *TINY_DETECTOR,
        "--model.detector",
        detector,
        "--run_dir",
        "run",
        "--trainer.max_epochs",
        "2",
    )
    assert status == 0, err
    assert re.search(r"^epoch 2/2  train/loss \S+  val/loss \S+  val/map \S+  ", err, re.MULTILINE)
    assert "map50" in out
    made = {file.name for file in Path("run").iterdir()}
    assert {
        "config.yaml", "split.csv", "metrics.csv", "metrics.json", "cases.csv", "predictions.csv", "targets.csv",
        "froc_val.csv", "froc_test.csv", "overlays", "learning_curves.png", "froc_val.png", "froc_test.png",
    } <= made  # fmt: skip
    assert all(one.image_size == (SIDE, SIDE) for one in read_gallery(Path("run"), "test"))
    assert "worst" in read_gallery(Path("run"), "val")[0].kinds
    metrics = json.loads(Path("run/metrics.json").read_text())
    wanted = ("map", "map50", "map75", "mar", "froc", "sensitivity@1fp", "image_auroc", "sensitivity@op", "f1@op")
    assert {f"{stage}/{name}" for stage in ("val", "test") for name in wanted} <= metrics.keys()
    cases = pd.read_csv("run/cases.csv")
    assert metrics["test/map"]["n"] == (cases["split"] == "test").sum()

    checkpoint = ["--ckpt_path", "run/checkpoints/best.ckpt"]
    for verb, part in (("test", "test"), ("validate", "val")):
        status, _, err = detect(verb, *checkpoint, "--run_dir", f"again_{verb}")
        assert status == 0, err
        again = json.loads(Path(f"again_{verb}/metrics.json").read_text())
        assert again[f"{part}/map"] == pytest.approx(metrics[f"{part}/map"])

    Path("broken.png").write_bytes(b"\x89PNG")
    status, out, err = detect("predict", *checkpoint, "--input", "coco/images", "broken.png", "--output", "out")
    assert status == 1, err
    assert "24 cases predicted, 1 files unreadable" in out
    rows = pd.read_csv("out/predictions.csv")
    evaluated = pd.read_csv("run/predictions.csv")
    for case, some in evaluated.groupby("case_id"):
        np.testing.assert_allclose(some["score"], rows[rows["case_id"] == Path(str(case)).name]["score"], atol=1e-4)
    whole = json.loads(Path("out/detections.json").read_text())
    assert len(whole["images"]) == 24
    assert len(whole["annotations"]) == len(rows)
    assert len(list(Path("out/pictures").glob("*.png"))) == 24


def test_three_formats_of_one_data_set_are_one(detect: Run) -> None:
    write_all(*draw_squares())
    tables, losses, metrics = {}, {}, {}
    for name, flags in DATA.items():
        status, _, err = detect("fit", *flags, *TINY_DETECTOR, "--run_dir", name)
        assert status == 0, err
        table = pd.read_csv(f"{name}/targets.csv")
        table["case_id"] = [Path(case).name for case in table["case_id"]]
        tables[name] = table.sort_values(["case_id", "x1", "y1"], ignore_index=True)
        losses[name] = pd.read_csv(f"{name}/metrics.csv")[["train/loss", "val/loss", "val/map"]]
        metrics[name] = json.loads(Path(f"{name}/metrics.json").read_text())["test/map"]["value"]
    for name in ("Voc", "Yolo"):
        pd.testing.assert_frame_equal(tables[name], tables["Coco"])
        pd.testing.assert_frame_equal(losses[name], losses["Coco"])
        assert metrics[name] == metrics["Coco"]


def test_difficult_boxes_are_named_in_the_tables_and_ignored_in_the_epochs(detect: Run) -> None:
    write_all(*draw_squares())
    for file in Path("voc/Annotations").glob("*.xml"):
        file.write_text(file.read_text().replace("<difficult>0", "<difficult>1", 1))
    status, _, err = detect("fit", *DATA["Voc"], *TINY_DETECTOR, "--data.image_size", "80", "--run_dir", "run")
    assert status == 0, err
    cases, targets, found = (
        table[table["split"] == "val"]
        for table in (pd.read_csv(f"run/{name}.csv") for name in ("cases", "targets", "predictions"))
    )
    assert targets["difficult"].equals(targets["ignore"])
    assert 0 < targets["difficult"].sum() < len(targets)
    written = json.loads(Path("run/metrics.json").read_text())["val/map50"]["value"]
    evaluated = evaluate_boxes(cases, targets, found, CLASSES, resamples=0).metrics["map50"].value
    assert written == pytest.approx(evaluated, abs=1e-9)
    epoch = pd.read_csv("run/metrics.csv")["val/map50"].iloc[0]
    assert epoch == pytest.approx(written, abs=2e-3)


def test_an_epoch_without_any_box(detect: Run) -> None:
    images, boxes = draw_squares()
    write_all(images, {case: found if part_of(case) != "train" else [] for case, found in boxes.items()})
    for detector in ("retinanet", "fcos", "faster_rcnn"):
        status, _, err = detect("fit", *DATA["Coco"], *TINY_DETECTOR, "--model.detector", detector)
        assert status == 0, err
    for number in (1, 2, 3):
        assert np.isfinite(pd.read_csv(f"runs/detect/{number}/metrics.csv")["train/loss"]).all()


@pytest.mark.slow
def test_two_processes_find_what_one_finds(detect: Run, tmp_path: Path) -> None:
    write_all(*draw_squares(27))
    status, _, err = detect("fit", *DATA["Coco"], *TINY_DETECTOR, "--run_dir", "run")
    assert status == 0, err
    for name, more in (("one", []), ("two", ["--trainer.devices", "2", "--trainer.strategy", "ddp"])):
        finish(
            start(
                tmp_path, "test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", name,
                "--trainer.accelerator", "cpu", *more, task="detect",
            )
        )  # fmt: skip
    one, two = (json.loads(Path(f"{name}/metrics.json").read_text()) for name in ("one", "two"))
    assert one == two
    shown = [
        [(each.case_id, each.kinds, each.scan) for each in read_gallery(Path(name), "test")] for name in ("one", "two")
    ]
    assert shown[0] == shown[1] != []
    assert one["test/map"]["n"] == sum(part_of(f"s{case:02d}") == "test" for case in range(27))


def test_a_segmentation_backbone_moves_here(run_task: Run) -> None:
    draw_cells(Path("scans"))
    write_all(*draw_squares())
    status, _, err = run_task("segment", "fit", *FLAT, *TINY_UNET, "--run_dir", "parent")
    assert status == 0, err
    parent = "parent/checkpoints/last.ckpt"
    status, _, err = run_task(
        "detect", "fit", *DATA["Coco"], *TINY_DETECTOR, "--model.weights", parent, "--model.freeze", "backbone",
        "--run_dir", "child",
    )  # fmt: skip
    assert status == 0, err
    states = [torch.load(file, weights_only=True)["state_dict"] for file in (parent, "child/checkpoints/last.ckpt")]
    names = [[name for name in state if name.startswith("backbone.")] for state in states]
    assert set(names[0]) == set(names[1])
    for name in names[0]:
        assert torch.equal(states[0][name], states[1][name]), name


def edited(file: str, old: str, new: str) -> Callable[[], None]:
    def edit() -> None:
        text = Path(file).read_text()
        assert old in text
        Path(file).write_text(text.replace(old, new, 1))

    return edit


def cut(file: str) -> None:
    Path(file).write_bytes(Path(file).read_bytes()[:-200])


BOMB = '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "ha"><!ENTITY c "&a;&a;&a;&a;">]><annotation>&c;</annotation>'
MISTAKES: dict[str, tuple[str, Callable[[], object], list[str]]] = {
    "bomb": ("Voc", lambda: Path("voc/Annotations/s03.xml").write_text(BOMB), ["s03.xml"]),
    "class": ("Voc", edited("voc/Annotations/s03.xml", "<name>", "<name>very "), []),
    "category": (
        "Coco", edited("coco/annotations/instances_train.json", '"category_id": ', '"category_id": 7'),
        ["instances_train.json", "7"],
    ),
    "image missing": ("Coco", lambda: Path("coco/images/s03.png").unlink(), ["s03.png"]),
    "cut": ("Coco", lambda: cut("coco/annotations/instances_val.json"), ["instances_val.json"]),
    "nan": (
        "Coco", edited("coco/annotations/instances_train.json", '"bbox": [', '"bbox": [NaN, '),
        ["instances_train.json"],
    ),
    "voc nan": ("Voc", edited("voc/Annotations/s03.xml", "<xmin>", "<xmin>nan"), ["s03.xml"]),
    "columns": ("Yolo", lambda: Path("yolo/train/labels/s03.txt").write_text("0 0.5 0.5\n"), []),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_wrong_with_boxes(detect: Run, mistake: str) -> None:
    write_all(*draw_squares())
    name, break_it, said = MISTAKES[mistake]
    break_it()
    status, _, err = detect("fit", *DATA[name], *TINY_DETECTOR, "--run_dir", "run")
    if mistake == "class":  # a VOC set names its classes nowhere but in its objects
        assert "very" in err
        return
    assert status == 2
    line = one_line(err)
    for part in said:
        assert part in line, line
    assert not Path("run/metrics.json").exists()


def test_boxes_outside_are_mended_and_reported(detect: Run) -> None:
    images, boxes = draw_squares()
    boxes["s03"] = [("bright", -5, 10, 20, 30), ("dark", 70, 70, 90, 90), ("dark", 8, 8, 8, 20), *boxes["s03"]]
    write_all(images, boxes)
    for name in ("Coco", "Voc"):
        status, _, err = detect("fit", *DATA[name], *TINY_DETECTOR, "--run_dir", name)
        assert status == 0, err
        assert "s03" in err
