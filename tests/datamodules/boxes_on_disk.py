"""One small data set of boxes, written in each of the forms that are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from datamodules.detection.base import DetectionData
from datamodules.readers.raster import write_png

CLASSES = ["cyst", "tumour"]  # in alphabetic order, as Voc numbers them
PARTS = {"train": 6, "val": 2, "test": 2}


class Box(NamedTuple):
    label: str
    corners: tuple[float, float, float, float]  # xyxy
    ignore: bool = False


class Picture(NamedTuple):
    name: str
    part: str
    size: tuple[int, int]  # (H, W)
    boxes: Sequence[Box]


def pictures(*, ignored: bool = False) -> list[Picture]:
    """Ten images of unlike sizes with nought to four boxes of whole pixels; ``ignored`` marks some of them."""
    rng = np.random.default_rng(0)
    made = []
    for number, part in enumerate(part for part, count in PARTS.items() for _ in range(count)):
        height, width = int(rng.integers(24, 40)), int(rng.integers(24, 56))
        boxes = []
        for place in range(number % 5):
            x1, y1 = int(rng.integers(0, width - 8)), int(rng.integers(0, height - 8))
            x2, y2 = int(rng.integers(x1 + 2, width + 1)), int(rng.integers(y1 + 2, height + 1))
            boxes.append(Box(CLASSES[int(rng.integers(2))], (x1, y1, x2, y2), ignored and place == 1))
        made.append(Picture(f"scan{number}", part, (height, width), boxes))
    return made


def noise(one: Picture) -> NDArray[np.uint8]:
    return np.random.default_rng(list(one.name.encode())).integers(0, 256, one.size, dtype=np.uint8)


def write_images(folder: Path, some: Sequence[Picture]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in some:
        write_png(folder / f"{one.name}.png", noise(one))


def coco_content(some: Sequence[Picture]) -> dict[str, Any]:
    """A whole COCO file; category ids have gaps, and image ids are not in order."""
    ids = {one.name: 100 - number for number, one in enumerate(some)}
    annotations: list[dict[str, Any]] = []
    for one in some:
        for label, (x1, y1, x2, y2), ignore in one.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": ids[one.name],
                    "category_id": 3 + 4 * CLASSES.index(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "iscrowd": int(ignore),
                }
            )
    return {
        "images": [
            {"id": ids[one.name], "file_name": f"{one.name}.png", "height": one.size[0], "width": one.size[1]}
            for one in some
        ],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "tumour"}, {"id": 3, "name": "cyst"}],
    }


def write_coco(root: Path, some: Sequence[Picture]) -> Path:
    """``annotations/instances_<part>.json`` beside ``images/<part>``."""
    (root / "annotations").mkdir(parents=True)
    for part in PARTS:
        own = [one for one in some if one.part == part]
        write_images(root / "images" / part, own)
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(coco_content(own)))
    return root


def voc_text(one: Picture) -> str:
    things = "".join(
        f"<object><name>{label}</name><difficult>{int(ignore)}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for label, (x1, y1, x2, y2), ignore in one.boxes
    )
    return (
        f"<annotation><filename>{one.name}.png</filename><size><width>{one.size[1]}</width>"
        f"<height>{one.size[0]}</height><depth>1</depth></size>{things}</annotation>"
    )


def write_voc(root: Path, some: Sequence[Picture], *, sets: bool = True) -> Path:
    write_images(root / "JPEGImages", some)
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for one in some:
        (root / "Annotations" / f"{one.name}.xml").write_text(voc_text(one))
    for part in PARTS if sets else ():
        names = [one.name for one in some if one.part == part]
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names) + "\n")
    return root


def yolo_text(one: Picture) -> str:
    height, width = one.size
    return "".join(
        f"{CLASSES.index(label)} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} "
        f"{(y2 - y1) / height}\n"
        for label, (x1, y1, x2, y2), _ in one.boxes
    )


def write_yolo(root: Path, some: Sequence[Picture]) -> Path:
    """``images/<part>`` and ``labels/<part>``; an image without boxes has no text file."""
    for part in PARTS:
        own = [one for one in some if one.part == part]
        write_images(root / "images" / part, own)
        (root / "labels" / part).mkdir(parents=True)
        for one in own:
            if one.boxes:
                (root / "labels" / part / f"{one.name}.txt").write_text(yolo_text(one))
    described = {**{part: f"images/{part}" for part in PARTS}, "nc": 2, "names": dict(enumerate(CLASSES))}
    (root / "data.yaml").write_text(yaml.safe_dump(described))
    return root


def truth_of(data: DetectionData) -> pd.DataFrame:
    """All boxes with the split of their image."""
    boxes = data.true_boxes(np.arange(len(data.table)))
    return boxes.merge(data.table.cases[["case_id", "split"]], on="case_id", how="left")


def expected(some: Sequence[Picture], *, difficult: bool = False) -> pd.DataFrame:
    """What :func:`truth_of` gives; ``difficult``: of a form in which that is why boxes are ignored."""
    rows = [
        (one.name, label, *map(float, corners), ignore, ignore and difficult, one.part)
        for one in sorted(some)
        for label, corners, ignore in one.boxes
    ]
    columns = ["case_id", "label", "x1", "y1", "x2", "y2", "ignore", "difficult", "split"]
    return pd.DataFrame(rows, columns=columns).astype({"case_id": "str", "label": "str", "split": "str"})


def box_rows(some: Sequence[Picture], *, ignored: bool = False) -> pd.DataFrame:
    """``path, split, label, x1, y1, x2, y2`` with a row a box, and one without numbers for an image that has none."""
    rows: list[dict[str, Any]] = []
    for one in some:
        image = {"path": f"{one.name}.png", "split": one.part, "label": None}
        rows += [
            {**image, "label": label, **dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)), "iscrowd": ignore}
            for label, corners, ignore in one.boxes
        ] or [image]
    frame = pd.DataFrame(rows, columns=["path", "split", "label", "x1", "y1", "x2", "y2", "iscrowd"])
    return frame if ignored else frame.drop(columns="iscrowd")


def write_box_table(root: Path, some: Sequence[Picture]) -> Path:
    """``boxes.csv`` beside the images."""
    write_images(root, some)
    ignored = any(box.ignore for one in some for box in one.boxes)
    box_rows(some, ignored=ignored).to_csv(root / "boxes.csv", index=False)
    return root
