"""Boxes to evaluate, and what pycocotools says of them."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pandas as pd

from tasks.evaluation.detection.boxes import BoxSet, join_boxes, read_boxes
from tasks.evaluation.detection.coco_map import AREAS

Images = list[dict[str, Any]]
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def random_images(
    seed: int, images: int = 12, found: int = 25, classes: int = 3, ties: bool = True
) -> tuple[Images, Images]:
    """True and found boxes: whole pixels and rounded scores (many ties), ignored boxes, empty images of both kinds.

    The last class is never true, the one before it never found.
    """
    generator = np.random.default_rng(seed)
    targets, predictions = [], []
    for number in range(images):
        true = 0 if number % 4 == 3 else int(generator.integers(1, 9))
        corner, size = generator.integers(0, 150, (true, 2)), generator.integers(4, 140, (true, 2))
        boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float64)
        labels = generator.integers(0, classes + 1, true)
        targets.append({"boxes": boxes, "labels": labels, "ignore": generator.random(true) < 0.2})
        count = 0 if number % 5 == 4 else found
        corner, size = generator.integers(0, 150, (count, 2)), generator.integers(4, 140, (count, 2))
        guesses = np.concatenate([corner, corner + size], axis=1).astype(np.float64)
        guessed = generator.choice([*range(classes), classes + 1], count)
        if true:
            copied, source = generator.random(count) < 0.7, generator.integers(0, true, count)
            near = boxes[source] + generator.integers(-6, 7, (count, 4))
            near[:, 2:] = np.maximum(near[:, 2:], near[:, :2])
            guesses[copied] = near[copied]
            same = copied & (labels[source] != classes)
            guessed[same] = labels[source][same]
        scores = np.round(generator.random(count), 1) if ties else generator.permutation(np.arange(1, count + 1)) / 1e3
        if not ties:
            scores = scores + number / 1e6
        predictions.append({"boxes": guesses, "labels": guessed, "scores": scores})
    return targets, predictions


def names(classes: int = 3) -> list[str]:
    return [f"k{k}" for k in range(classes)] + ["never found", "never true"]


def random_boxes(seed: int, **options: Any) -> BoxSet:
    return join_boxes(*random_images(seed, **options), names())


def as_tables(targets: Images, predictions: Images, class_names: list[str]) -> Tables:
    """The tables ``cases`` (two images a patient), ``targets`` and ``predictions``."""
    cases = [f"c{number}" for number in range(len(targets))]

    def rows(images: Images, extra: dict[str, str]) -> pd.DataFrame:
        columns: dict[str, Any] = {"case_id": np.repeat(cases, [len(image["labels"]) for image in images])}
        columns["label"] = [class_names[k] for image in images for k in image["labels"]]
        corners = np.concatenate([np.zeros((0, 4)), *(image["boxes"] for image in images)])
        columns |= {name: corners[:, k] for k, name in enumerate(("x1", "y1", "x2", "y2"))}
        columns |= {name: np.concatenate([image[key] for image in images]) for name, key in extra.items()}
        return pd.DataFrame(columns)

    patients = pd.DataFrame({"case_id": cases, "patient_id": [f"p{number // 2}" for number in range(len(cases))]})
    return patients, rows(targets, {"ignore": "ignore"}), rows(predictions, {"score": "scores"})


def random_tables(seed: int, **options: Any) -> Tables:
    return as_tables(*random_images(seed, **options), names())


def drawn(tables: Tables, counts: np.ndarray[Any, Any], class_names: list[str]) -> BoxSet:
    """The data set in which each case stands so often, every copy a case of its own."""
    cases, targets, predictions = tables
    parts: list[tuple[pd.DataFrame, ...]] = []
    for case, count in zip(cases["case_id"], counts, strict=True):
        for copy in range(int(count)):
            one = tuple(table[table["case_id"] == case] for table in (cases, targets, predictions))
            parts.append(tuple(table.assign(case_id=f"{case}/{copy}") for table in one))
    if not parts:
        return read_boxes(cases[:0], targets[:0], predictions[:0], class_names)
    joined = [pd.concat([part[k] for part in parts], ignore_index=True) for k in range(3)]
    return read_boxes(joined[0], joined[1], joined[2], class_names)


def pycocotools_evaluation(boxes: BoxSet, limits: list[int]) -> Any:
    """An accumulated ``COCOeval``; ids of images and classes are their numbers plus 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotations(image: Any, label: Any, corners: Any, **extra: Any) -> list[dict[str, Any]]:
        rows = []
        for n, (i, k, (x1, y1, x2, y2)) in enumerate(zip(image, label, corners.tolist(), strict=True)):
            box, area = [x1, y1, x2 - x1, y2 - y1], (x2 - x1) * (y2 - y1)
            own = {name: values[n].item() for name, values in extra.items()}
            row = {"id": n + 1, "image_id": int(i) + 1, "category_id": int(k) + 1, "bbox": box, "area": area}
            rows.append({**row, "iscrowd": 0, **own})
        return rows

    data = {
        "images": [{"id": i + 1} for i in range(boxes.images)],
        "categories": [{"id": k + 1} for k in range(len(boxes.class_names))],
    }
    crowd = boxes.ignore.astype(int)
    parts = (
        annotations(boxes.true_image, boxes.true_label, boxes.true_boxes, iscrowd=crowd),
        annotations(boxes.image, boxes.label, boxes.boxes, score=boxes.score),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        both = []
        for rows in parts:
            both.append(COCO())
            both[-1].dataset = {**data, "annotations": rows}
            both[-1].createIndex()
        evaluation = COCOeval(*both, "bbox")
        evaluation.params.maxDets = limits
        evaluation.params.areaRng = [list(ends) for ends in AREAS.values()]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation
