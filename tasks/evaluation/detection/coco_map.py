"""COCO's average precision and recall over a whole data set, computed by faster-coco-eval.

Source: T.-Y. Lin and others, Microsoft COCO: common objects in context, ECCV 2014, and the COCO API's ``COCOeval``,
whose metrics ``faster-coco-eval`` gives in C++. The area of a true box is that of the box, also where a mask is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.classification.weighted import BoolArray, FloatArray, mean_of_classes
from tasks.evaluation.detection.boxes import BoxSet, IntArray

# As COCO makes them: arange gives 0.9500000000000004.
IOU_THRESHOLDS: FloatArray = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS: FloatArray = np.linspace(0.0, 1.0, 101)
# Square pixels, both ends inside.
AREAS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
STANDARD_DETECTIONS = 100  # an image and class, in metrics that others publish
METRICS = ("map", "map50", "map75", "map@100", "map_small", "map_medium", "map_large", "mar")


def coco_metrics(boxes: BoxSet, max_detections: int = STANDARD_DETECTIONS) -> dict[str, FloatArray]:
    """Average precision and recall of each class.

    Args:
        boxes: of all images, none of them difficult: to COCO all that is ignored is a crowd.
        max_detections: best found boxes of an image and class that count.

    Returns:
        ``(K,)`` for each name of :data:`METRICS`, NaN for a class without a true box (of that size). ``map`` is the
        mean over IoU 0.5 to 0.95, ``map@100`` the same with 100 boxes an image, ``mar`` the recall that is reached,
        mean over the same IoUs. A mean over classes is COCO's value for the data set.
    """
    limits = sorted({max_detections, STANDARD_DETECTIONS})
    last, standard = limits.index(max_detections), limits.index(STANDARD_DETECTIONS)
    precision, recall = _evaluate(boxes, limits)

    def average(area: int, limit: int, at: slice | int = slice(None)) -> FloatArray:
        # Every IoU and recall of a class is defined, or none is.
        values: FloatArray = precision[at, :, :, area, limit].reshape(-1, precision.shape[2])
        return np.where((values > -1).all(axis=0), values.mean(axis=0), np.nan)

    reached = recall[:, :, 0, last]
    return {
        "map": average(0, last),
        "map50": average(0, last, 0),
        "map75": average(0, last, 5),
        "map@100": average(0, standard),
        **{f"map_{name}": average(number, last) for number, name in enumerate(AREAS) if name != "all"},
        "mar": np.where((reached > -1).all(axis=0), reached.mean(axis=0), np.nan),
    }


def named(by_class: dict[str, FloatArray], class_names: tuple[str, ...]) -> dict[str, float]:
    """``<metric>`` (mean over the classes that have it) and ``<metric>/<class>`` from ``(K,)`` values."""
    values = {metric: float(mean_of_classes(numbers)) for metric, numbers in by_class.items()}
    for k, name in enumerate(class_names):
        values |= {f"{metric}/{name}": float(numbers[k]) for metric, numbers in by_class.items()}
    return values


def xywh(boxes: FloatArray) -> FloatArray:
    """COCO's form of boxes, from corners."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _evaluate(boxes: BoxSet, limits: list[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Precision ``(T, R, K, A, M)`` and recall ``(T, K, A, M)``, -1 = undefined."""
    from faster_coco_eval import COCO, COCOeval_faster

    # Numbers start at 1, because a match with box 0 would read as none.
    frame = {
        "images": [{"id": number + 1} for number in range(boxes.images)],
        "categories": [{"id": number + 1, "name": name} for number, name in enumerate(boxes.class_names)],
    }
    truth = _annotations(boxes.true_image, boxes.true_label, boxes.true_boxes, iscrowd=boxes.ignore.astype(int))
    found = _annotations(boxes.image, boxes.label, boxes.boxes, score=boxes.score)
    evaluation = COCOeval_faster(
        COCO({**frame, "annotations": truth}), COCO({**frame, "annotations": found}), "bbox", print_function=_silent
    )
    evaluation.params.maxDets = limits
    evaluation.params.areaRng = [list(ends) for ends in AREAS.values()]
    evaluation.params.areaRngLbl = list(AREAS)
    evaluation.params.iouThrs, evaluation.params.recThrs = IOU_THRESHOLDS, RECALL_THRESHOLDS
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _annotations(
    image: IntArray, label: IntArray, boxes: FloatArray, **columns: IntArray | BoolArray | FloatArray
) -> list[dict[str, Any]]:
    places = xywh(boxes)
    areas = places[:, 2] * places[:, 3]
    rows = zip(image.tolist(), label.tolist(), places.tolist(), areas.tolist(), strict=True)
    annotations = [
        {"id": number, "image_id": i + 1, "category_id": k + 1, "bbox": place, "area": area, "iscrowd": 0}
        for number, (i, k, place, area) in enumerate(rows, start=1)
    ]
    for name, values in columns.items():
        for annotation, value in zip(annotations, values.tolist(), strict=True):
            annotation[name] = value
    return annotations


def _silent(*words: object) -> None:
    """Takes the library's progress messages."""
