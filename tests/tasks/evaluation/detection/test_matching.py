"""Matching and weighted average precision, against pycocotools and faster-coco-eval."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.detection.average_precision import average_precision, build_ladder
from tasks.evaluation.detection.boxes import BoxSet, join_boxes
from tasks.evaluation.detection.coco_map import AREAS, IOU_THRESHOLDS, coco_metrics
from tasks.evaluation.detection.matching import Matches, match_boxes
from tests.tasks.evaluation.box_data import drawn, names, pycocotools_evaluation, random_boxes, random_tables

EVERY = slice(0, 10)


def matched(boxes: BoxSet, max_detections: int = 100) -> list[Matches]:
    return match_boxes(boxes, max_detections, IOU_THRESHOLDS, list(AREAS.values()))


@pytest.mark.parametrize("seed", range(4))
def test_every_box_hits_what_it_hits_in_pycocotools(seed: int) -> None:
    boxes, limit = random_boxes(seed), 6
    evaluation = pycocotools_evaluation(boxes, [limit])
    images = iter(evaluation.evalImgs)
    for matches in matched(boxes, limit):
        for area in range(len(AREAS)):
            for image in range(boxes.images):
                expected = next(images)
                # Best first in the image too: its boxes keep their order in that of the whole.
                own = np.flatnonzero(matches.image == image)
                if expected is None:
                    assert not len(own)
                    continue
                ignored = expected["dtIgnore"].astype(bool)
                assert matches.score[own].tolist() == expected["dtScores"]
                assert np.array_equal(matches.hit[area][:, own], (expected["dtMatches"] > 0) & ~ignored)
                assert np.array_equal(matches.ignored[area][:, own], ignored)
                assert matches.truth[area, image] == (np.asarray(expected["gtIgnore"]) == 0).sum()
                assert matches.place[own].tolist() == list(range(len(own)))


def weighted_metrics(boxes: BoxSet, weights: FloatArray) -> dict[str, FloatArray]:
    """``(B, K)`` by metric."""
    metrics: dict[str, list[FloatArray]] = {}
    for matches in matched(boxes):
        precision, recall = average_precision(weights, build_ladder(matches, 0, EVERY))
        own = {"map": precision.mean(axis=1), "map50": precision[:, 0], "map75": precision[:, 5]}
        own["mar"] = recall.mean(axis=1)
        for area, name in enumerate(AREAS):
            if name != "all":
                sized = average_precision(weights, build_ladder(matches, area, EVERY))[0]
                own[f"map_{name}"] = sized.mean(axis=1)
        for metric, values in own.items():
            metrics.setdefault(metric, []).append(values)
    return {metric: np.stack(columns, axis=1) for metric, columns in metrics.items()}


@pytest.mark.parametrize("seed", range(8))
def test_equal_to_the_library_with_weights_of_one(seed: int) -> None:
    boxes = random_boxes(seed)
    exact = coco_metrics(boxes)
    for metric, values in weighted_metrics(boxes, np.ones((2, boxes.images))).items():
        for row in values:
            np.testing.assert_allclose(row, exact[metric], rtol=0, atol=1e-9, err_msg=metric)


@pytest.mark.parametrize("seed", range(3))
def test_a_weight_is_a_number_of_copies(seed: int) -> None:
    tables = random_tables(seed, ties=False)
    boxes = drawn(tables, np.ones(12), names())
    weights = np.random.default_rng(seed).integers(0, 4, (6, 12)).astype(np.float64)
    weights[0] = 0
    weights[1, :] = np.arange(12) == 3  # an image without a true box
    metrics = weighted_metrics(boxes, weights)
    for number, counts in enumerate(weights):
        exact = coco_metrics(drawn(tables, counts, names()))
        for metric, values in metrics.items():
            np.testing.assert_allclose(values[number], exact[metric], rtol=0, atol=1e-9, err_msg=metric)
    assert np.isnan(metrics["map"][0]).all()
    assert np.isnan(metrics["map"][1]).all()
    assert len({round(float(value), 6) for value in metrics["map"][2:, 0]}) == 4


def test_blocks_do_not_change_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    ladder = build_ladder(matched(random_boxes(2))[0], 0, EVERY)
    weights = np.random.default_rng(0).integers(0, 3, (7, 12)).astype(np.float64)
    whole = average_precision(weights, ladder)
    monkeypatch.setattr("tasks.evaluation.detection.average_precision.BLOCK_NUMBERS", 3 * len(ladder.image))
    parts = average_precision(weights, ladder)
    assert np.array_equal(whole[0], parts[0], equal_nan=True)
    assert np.array_equal(whole[1], parts[1], equal_nan=True)


def test_the_best_of_an_image_are_matched_as_if_they_were_alone() -> None:
    boxes = random_boxes(5)
    for whole, alone in zip(matched(boxes), matched(boxes, 3), strict=True):
        best = whole.best(3)
        assert np.array_equal(best.hit, alone.hit)
        assert np.array_equal(best.ignored, alone.ignored)
        assert np.array_equal(best.image, alone.image)


def test_a_second_hit_is_false_and_a_crowd_forgives() -> None:
    true = {"boxes": [[0, 0, 10, 10], [50, 50, 90, 90]], "labels": [0, 0], "ignore": [False, True]}
    found = {
        "boxes": [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [70, 70, 80, 80], [200, 0, 210, 10]],
        "labels": [0] * 5,
        "scores": [0.6, 0.9, 0.8, 0.7, 0.1],
    }
    (matches,) = match_boxes(join_boxes([true], [found], ["k"]), 100, np.array([0.5]))
    assert matches.score.tolist() == [0.9, 0.8, 0.7, 0.6, 0.1]
    assert matches.hit[0, 0].tolist() == [True, False, False, False, False]
    assert matches.ignored[0, 0].tolist() == [False, True, True, False, False]
    assert matches.truth.tolist() == [[1.0]]
