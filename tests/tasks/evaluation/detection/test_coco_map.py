from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.detection.boxes import BoxSet, join_boxes
from tasks.evaluation.detection.coco_map import METRICS, coco_metrics, named
from tasks.evaluation.detection.metrics import quick_map
from tests.tasks.evaluation.box_data import names, pycocotools_evaluation, random_boxes, random_images

ROOT = Path(__file__).resolve().parents[4]


def by_pycocotools(boxes: BoxSet, max_detections: int) -> dict[str, FloatArray]:
    """What ``COCOeval.summarize`` averages, for each class."""
    limits = sorted({max_detections, 100})
    evaluation = pycocotools_evaluation(boxes, limits)
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    last, standard = limits.index(max_detections), limits.index(100)

    def mean(values: FloatArray) -> FloatArray:
        known = [column[column > -1] for column in np.moveaxis(values, -1, 0)]
        return np.array([column.mean() if len(column) else np.nan for column in known])

    return {
        "map": mean(precision[:, :, :, 0, last]),
        "map50": mean(precision[0, :, :, 0, last]),
        "map75": mean(precision[5, :, :, 0, last]),
        "map@100": mean(precision[:, :, :, 0, standard]),
        "map_small": mean(precision[:, :, :, 1, last]),
        "map_medium": mean(precision[:, :, :, 2, last]),
        "map_large": mean(precision[:, :, :, 3, last]),
        "mar": mean(recall[:, :, 0, last]),
    }


def assert_equal(found: dict[str, FloatArray], expected: dict[str, FloatArray]) -> None:
    assert list(found) == list(METRICS)
    for metric, values in expected.items():
        np.testing.assert_allclose(found[metric], values, rtol=0, atol=1e-6, err_msg=metric)


@pytest.mark.parametrize("max_detections", [5, 100, 150])
@pytest.mark.parametrize("seed", range(4))
def test_equal_to_pycocotools(seed: int, max_detections: int) -> None:
    boxes = random_boxes(seed)
    found = coco_metrics(boxes, max_detections)
    assert_equal(found, by_pycocotools(boxes, max_detections))
    assert 0.02 < found["map"][0] < found["map50"][0] < 1
    assert found["map"][3] == 0  # never found
    assert np.isnan([found[metric][4] for metric in METRICS]).all()  # never true


def test_equal_to_the_summary_of_pycocotools() -> None:
    boxes = random_boxes(9, images=20)
    evaluation = pycocotools_evaluation(boxes, [1, 10, 100])
    evaluation.summarize()
    metrics = named(coco_metrics(boxes), boxes.class_names)
    order = ("map", "map50", "map75", "map_small", "map_medium", "map_large")
    assert [metrics[metric] for metric in order] == pytest.approx(evaluation.stats[:6], abs=1e-6)
    assert metrics["mar"] == pytest.approx(evaluation.stats[8], abs=1e-6)
    assert metrics["map@100"] == metrics["map"]
    assert metrics["map"] == pytest.approx(np.nanmean([metrics[f"map/{name}"] for name in names()]))


def test_more_than_a_hundred_boxes_an_image() -> None:
    boxes = random_boxes(1, images=4, found=900)
    few, many = coco_metrics(boxes, 100), coco_metrics(boxes, 300)
    assert_equal(many, by_pycocotools(boxes, 300))
    assert (few["map@100"][:3] == many["map@100"][:3]).all()
    assert (few["mar"][:3] < many["mar"][:3]).any()


def test_equal_on_real_nuclei(shared_data: Path) -> None:
    """Hundreds of boxes an image of many sizes; what is found are the true boxes, shaken."""
    truth = json.loads((shared_data / "dsb2018_nuclei" / "instances.json").read_text())
    order = {image["id"]: number for number, image in enumerate(truth["images"])}
    corners: list[list[list[float]]] = [[] for _ in order]
    for annotation in truth["annotations"]:
        x, y, width, height = annotation["bbox"]
        corners[order[annotation["image_id"]]].append([x, y, x + width, y + height])
    most = sorted((np.array(rows, dtype=float).reshape(-1, 4) for rows in corners), key=len)[::-8]
    generator = np.random.default_rng(0)
    targets, predictions = [], []
    for number, rows in enumerate(most):
        shaken = np.repeat(rows, 2, axis=0) + generator.normal(0, 2.5, (2 * len(rows), 4))
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2])
        scores = np.round(generator.random(len(shaken)), 2)
        targets.append(
            {"boxes": rows, "labels": np.zeros(len(rows), int), "ignore": np.arange(len(rows)) % 9 == number}
        )
        predictions.append({"boxes": shaken, "labels": np.zeros(len(shaken), int), "scores": scores})
    assert len(most[0]) > 200
    boxes = join_boxes(targets, predictions, ["nucleus"])
    found = coco_metrics(boxes, 387)
    assert_equal(found, by_pycocotools(boxes, 387))
    assert found["map@100"][0] < found["map"][0]


def test_nothing_found_and_nothing_there() -> None:
    targets, predictions = random_images(0)
    empty = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int), "scores": np.zeros(0)}
    nothing = quick_map(targets, [empty] * len(targets), names())
    assert nothing["map"] == nothing["mar"] == nothing["f1@op"] == nothing["sensitivity@op"] == 0
    assert nothing["precision@op"] == nothing["precision@op/k0"] == 0  # lesions, and not one call
    assert np.isnan([nothing["map/never true"], nothing["precision@op/never true"]]).all()
    healthy = quick_map([empty] * len(targets), predictions, names())
    assert np.isnan(list(healthy.values())).all()
    assert np.isnan(list(quick_map([], [], names()).values())).all()
    with pytest.raises(ValueError, match="12 images with true boxes, but 1 with found ones"):
        quick_map(targets, [empty], names())


def test_a_perfect_model() -> None:
    targets = [{**target, "ignore": np.zeros(len(target["labels"]), bool)} for target in random_images(0)[0]]
    found = [{**target, "scores": np.full(len(target["labels"]), 0.9)} for target in targets]
    metrics = quick_map(targets, found, names())
    assert [metrics[name] for name in ("map", "map50", "map75", "mar", "f1@op")] == pytest.approx([1.0] * 5)


def test_evaluating_boxes_loads_no_torch() -> None:
    program = (
        "import sys, numpy as np; from tasks.evaluation.evaluate import evaluate_detection;"
        "from tasks.evaluation.detection.metrics import quick_map;"
        "box = {'boxes': np.array([[0, 0, 9, 9.0]]), 'labels': [0], 'scores': [0.5]};"
        "assert quick_map([box], [box], ['k'])['map'] > 0.99; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "False", result.stderr
