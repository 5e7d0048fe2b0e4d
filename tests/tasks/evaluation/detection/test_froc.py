from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.detection.boxes import BoxSet, IntArray, join_boxes
from tasks.evaluation.detection.froc import (
    FALSE_POSITIVES,
    Froc,
    build_froc,
    froc_points,
    froc_sensitivities,
    froc_table,
)
from tasks.evaluation.detection.matching import match_boxes
from tests.tasks.evaluation.box_data import Images, names, random_boxes

EMPTY: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int), "scores": np.zeros(0)}


def curve_of(boxes: BoxSet, groups: IntArray, iou: float = 0.5, number: int | None = None) -> Froc:
    """The curve of all classes or of one."""
    classes = match_boxes(boxes, 100, np.array([iou]))
    return build_froc(classes if number is None else [classes[number]], groups, 0)


def read_off(curve: Froc, weights: FloatArray | None = None) -> tuple[list[float], list[float]]:
    ones = np.ones((1, len(curve.lesions))) if weights is None else weights
    by_lesion, by_patient = froc_sensitivities(ones, curve)
    return by_lesion[0].tolist(), by_patient[0].tolist()


# Patient A has images 0 and 1 with a lesion each, patient B image 2 with two, patient C image 3 with none.
PATIENTS = np.array([0, 0, 1, 2])
TRUE: Images = [
    {"boxes": [[0, 0, 10, 10]], "labels": [0]},
    {"boxes": [[20, 20, 40, 40]], "labels": [0]},
    {"boxes": [[0, 0, 10, 10], [50, 50, 60, 60]], "labels": [0, 0]},
    EMPTY,
]
FOUND: Images = [
    # The lesion, and a second mark on it (IoU 0.9).
    {"boxes": [[0, 0, 10, 10], [0, 0, 10, 9]], "labels": [0, 0], "scores": [0.9, 0.7]},
    {"boxes": [[20, 20, 40, 40]], "labels": [0], "scores": [0.5]},
    # The first lesion, and 0.4 of the second.
    {"boxes": [[0, 0, 10, 10], [50, 50, 60, 54]], "labels": [0, 0], "scores": [0.6, 0.5]},
    {"boxes": [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], "labels": [0] * 3, "scores": [0.8, 0.3, 0.2]},
]


def test_a_case_worked_out_by_hand() -> None:
    """Four images, four lesions, three patients of whom two have lesions.

    | score | box                             | FP | per image | lesions | patients |
    |-------|---------------------------------|----|-----------|---------|----------|
    | 0.9   | finds a lesion of A             | 0  | 0         | 1/4     | 1/2      |
    | 0.8   | false, in C                     | 1  | 0.25      | 1/4     | 1/2      |
    | 0.7   | second mark on that lesion of A | 2  | 0.5       | 1/4     | 1/2      |
    | 0.6   | finds a lesion of B             | 2  | 0.5       | 2/4     | 2/2      |
    | 0.5   | finds A's other, false in B     | 3  | 0.75      | 3/4     | 2/2      |
    | 0.2   | two more false ones in C        | 5  | 1.25      | 3/4     | 2/2      |
    """
    curve = curve_of(join_boxes(TRUE, FOUND, ["k"]), PATIENTS)
    by_lesion, by_patient = read_off(curve)
    assert by_lesion == pytest.approx([0.25, 0.25, 0.5, 0.75, 0.75, 0.75, 0.75])
    assert by_patient == pytest.approx([0.5, 0.5, 1, 1, 1, 1, 1])
    assert np.mean(by_lesion) == pytest.approx(4 / 7)

    table = froc_table(curve, [curve], ["k"])
    assert table["class"].isna().tolist() == [True] * 5 + [False] * 5
    own = table[table["class"] == "k"]
    # The point at 0.8 lies on the line between its neighbours.
    assert own["threshold"].tolist() == [0.9, 0.7, 0.6, 0.5, 0.2]
    assert own["fp_per_image"].tolist() == [0, 0.5, 0.5, 0.75, 1.25]
    assert own["sensitivity"].tolist() == [0.25, 0.25, 0.5, 0.75, 0.75]
    assert own["patient_sensitivity"].tolist() == [0.5, 0.5, 1, 1, 1]


def test_a_milder_hit_rule_finds_the_other_lesion() -> None:
    by_lesion, _ = read_off(curve_of(join_boxes(TRUE, FOUND, ["k"]), PATIENTS, iou=0.4))
    # Now 0.5 false positives an image and both lesions at a score of 0.5.
    assert by_lesion == pytest.approx([0.25, 0.25, 1, 1, 1, 1, 1])


def test_between_points_the_curve_is_straight() -> None:
    """One image, one lesion, found at the same score as two false boxes: a line from the origin to (2, 1)."""
    found = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], "labels": [0] * 3, "scores": [0.5] * 3}]
    boxes = join_boxes([{"boxes": [[0, 0, 9, 9]], "labels": [0]}], found, ["k"])
    by_lesion, by_patient = read_off(curve_of(boxes, np.array([0])))
    assert by_lesion == by_patient == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 1, 1])


def brute_force(boxes: BoxSet, groups: IntArray, number: int | None) -> tuple[list[float], list[float]]:
    """Threshold by threshold from scratch, read off with numpy as LUNA16's script does."""
    numbers = range(len(boxes.class_names)) if number is None else [number]
    true = np.isin(boxes.true_label, numbers) & ~boxes.ignore
    ill = set(groups[boxes.true_image[true]])
    points = [(0.0, 0.0, 0.0)]
    for threshold in np.unique(boxes.score)[::-1]:
        false, found, patients = 0, 0, set()
        kept = boxes.score >= threshold
        found_boxes = {name: getattr(boxes, name)[kept] for name in ("image", "label", "boxes", "score")}
        called = replace(boxes, **found_boxes)
        classes = match_boxes(called, 100, np.array([0.5]))
        for matches in (classes[k] for k in numbers):
            hit, ignored = matches.hit[0, 0], matches.ignored[0, 0]
            found, false = found + hit.sum(), false + (~hit & ~ignored).sum()
            patients |= set(groups[matches.image[hit]])
        points.append((false / boxes.images, found / true.sum(), len(patients) / len(ill)))
    rate, lesion, patient = np.array(points).T
    return np.interp(FALSE_POSITIVES, rate, lesion).tolist(), np.interp(FALSE_POSITIVES, rate, patient).tolist()


@pytest.mark.parametrize("number", [None, 0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_brute_force(seed: int, number: int | None) -> None:
    boxes, groups = random_boxes(seed), np.arange(12) // 3
    by_lesion, by_patient = read_off(curve_of(boxes, groups, number=number))
    expected = brute_force(boxes, groups, number)
    assert by_lesion == pytest.approx(expected[0], abs=1e-12)
    assert by_patient == pytest.approx(expected[1], abs=1e-12)
    if number != 3:  # which is never found
        assert by_lesion[0] < by_lesion[3] <= by_lesion[-1]


def test_a_weight_is_a_number_of_copies() -> None:
    targets, predictions = [*TRUE, EMPTY], [*FOUND, EMPTY]
    curve = curve_of(join_boxes(targets, predictions, ["k"]), np.array([0, 0, 1, 2, 3]))
    weights = np.array([[2.0, 2, 0, 3, 1], [0, 0, 0, 2, 1], [0, 0, 1, 0, 0]])
    by_lesion, by_patient = froc_sensitivities(weights, curve)
    copies = [0, 1, 0, 1, 3, 3, 3, 4]
    again = join_boxes([targets[k] for k in copies], [predictions[k] for k in copies], ["k"])
    expected = read_off(curve_of(again, np.array([0, 0, 1, 1, 2, 3, 4, 5])))
    assert by_lesion[0].tolist() == pytest.approx(expected[0])
    assert by_patient[0].tolist() == pytest.approx(expected[1])
    assert np.isnan(by_lesion[1]).all()  # no patient with a lesion drawn
    assert np.isnan(by_patient[1]).all()
    assert by_lesion[2].tolist() == pytest.approx([0.5] * 7)


def test_nothing_found_and_nothing_there() -> None:
    nothing = curve_of(join_boxes(TRUE, [EMPTY] * 4, ["k"]), PATIENTS)
    assert read_off(nothing) == ([0.0] * 7, [0.0] * 7)
    assert froc_table(nothing, [nothing], ["k"]).empty
    healthy = curve_of(join_boxes([EMPTY] * 4, FOUND, ["k"]), PATIENTS)
    assert np.isnan(read_off(healthy)).all()
    rate, by_lesion, _ = froc_points(np.ones((1, 4)), healthy)
    assert rate.tolist() == [[2.0]]
    assert np.isnan(by_lesion).all()


def test_the_wrong_class_does_not_find() -> None:
    found = [{**image, "labels": [1] * len(image["labels"])} for image in FOUND]
    boxes = join_boxes(TRUE, found, names())
    assert read_off(curve_of(boxes, PATIENTS))[0] == [0.0] * 7
