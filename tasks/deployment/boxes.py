"""Found boxes as COCO JSON for other programs, and as pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datamodules.pictures.boxes import draw_boxes
from datamodules.pictures.canvas import legend
from datamodules.pictures.panels import class_colour, panel_size, scan_panel
from scansuite.files import write_text
from tasks.deployment.case_picture import write_case_picture

if TYPE_CHECKING:
    import pandas as pd

_EDGES = ["x1", "y1", "x2", "y2"]


def write_coco(file: Path, cases: pd.DataFrame, boxes: pd.DataFrame, class_names: Sequence[str]) -> None:
    """Write boxes as COCO JSON: ``images``, ``annotations`` with ``score``, ``categories``.

    Numbers of images, annotations and categories begin at 1; ``bbox`` is x, y, width, height in pixels of the image as
    stored. The list under ``annotations`` is also what COCO's tools call results.

    Args:
        file: where to.
        cases: a row for each image, boxes or none: ``case_id,path,width,height``.
        boxes: a row for each box: ``case_id,label,score,x1,y1,x2,y2``.
        class_names: in class order.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    numbers = {str(case): number for number, case in enumerate(cases["case_id"], start=1)}
    categories = {name: number for number, name in enumerate(class_names, start=1)}
    images = [
        {"id": number, "file_name": str(path), "width": int(width), "height": int(height)}
        for number, (path, width, height) in enumerate(
            zip(cases["path"], cases["width"], cases["height"], strict=True), start=1
        )
    ]
    annotations: list[dict[str, Any]] = []
    for number, (case, label, score, edges) in enumerate(
        zip(boxes["case_id"], boxes["label"], boxes["score"], boxes[_EDGES].to_numpy(float), strict=True), start=1
    ):
        x1, y1, x2, y2 = (round(float(edge), 3) for edge in edges)
        width, height = round(x2 - x1, 3), round(y2 - y1, 3)
        annotations.append(
            {
                "id": number,
                "image_id": numbers[str(case)],
                "category_id": categories[label],
                "bbox": [x1, y1, width, height],
                "area": round(width * height, 3),
                "iscrowd": 0,
                "score": float(score),  # rounded, it would tie with its neighbours
            }
        )
    whole = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    write_text(file, json.dumps(whole, ensure_ascii=False) + "\n")


def write_box_picture(
    folder: Path, case_id: str, image: NDArray[np.float32], calls: pd.DataFrame, class_names: Sequence[str]
) -> Path:
    """Draw the calls of a case, with their scores, as ``<case id>.png``.

    Args:
        folder: where to; made if need be.
        case_id: names the file; ``/`` in it separates folders.
        image: (H, W, C) in [0, 1], as stored.
        calls: ``label``, ``score`` and edges in pixels of the image.
        class_names: in class order.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    edges = calls[_EDGES].to_numpy(float)
    picture = box_picture(image, list(calls["label"]), list(calls["score"]), edges, class_names)
    return write_case_picture(folder, case_id, picture)


def box_picture(
    image: NDArray[np.float32],
    labels: Sequence[str],
    scores: Sequence[float],
    edges: ArrayLike,
    class_names: Sequence[str],
) -> NDArray[np.uint8]:
    """Draw calls with their scores, and a legend of the classes that are there.

    Args:
        image: (H, W, C) in [0, 1], as stored.
        labels: class of each call.
        scores: of each.
        edges: (N, 4) xyxy in pixels of the image.
        class_names: in class order.

    Returns:
        (H', W', 3) RGB.
    """
    size, _ = panel_size(image.shape[:2], None)
    panel = scan_panel(image, size)
    colours = {name: class_colour(number) for number, name in enumerate(class_names)}
    texts = [f"{score:.2f}" for score in scores]
    of_boxes = [colours[label] for label in labels]
    panel = draw_boxes(panel, np.asarray(edges, float).reshape(-1, 4), image.shape[:2], of_boxes, texts=texts)
    seen = set(labels)
    return legend(panel, [(name, colours[name]) for name in class_names if name in seen])
