"""VOC's difficult boxes, against a literal reading of the VOC2010 development kit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.detection.boxes import BoxSet, join_boxes
from tasks.evaluation.detection.calls import call_boxes, choose_thresholds
from tasks.evaluation.detection.coco_map import AREAS, IOU_THRESHOLDS
from tasks.evaluation.detection.matching import match_boxes
from tasks.evaluation.detection.metrics import detection_operating_points, evaluate_boxes, quick_map
from tests.tasks.evaluation.box_data import as_tables, random_boxes

Image = dict[str, Any]


def voc_evaldet(boxes: BoxSet, number: int, least: float) -> tuple[list[str], int]:
    """``VOCevaldet.m`` of one class: what each detection is, best first, and how many true boxes count.

    Its boxes are whole pixels, the last one inside, so 1 is taken from our right and lower edges.
    """
    truths: dict[int, list[dict[str, Any]]] = {}
    for row in np.flatnonzero(boxes.true_label == number):
        corners = boxes.true_boxes[row] - [0, 0, 1, 1]
        truth = {"BB": corners, "diff": boxes.difficult[row], "det": False}
        truths.setdefault(int(boxes.true_image[row]), []).append(truth)
    npos = sum(not truth["diff"] for some in truths.values() for truth in some)
    own = np.flatnonzero(boxes.label == number)
    verdicts = []
    for row in own[np.lexsort((boxes.image[own], -boxes.score[own]))]:
        bb, ovmax, jmax = boxes.boxes[row] - [0, 0, 1, 1], -math.inf, None
        for truth in truths.get(int(boxes.image[row]), []):
            bbgt = truth["BB"]
            bi = [max(bb[0], bbgt[0]), max(bb[1], bbgt[1]), min(bb[2], bbgt[2]), min(bb[3], bbgt[3])]
            iw, ih = bi[2] - bi[0] + 1, bi[3] - bi[1] + 1
            if iw > 0 and ih > 0:
                ua = (bb[2] - bb[0] + 1) * (bb[3] - bb[1] + 1) + (bbgt[2] - bbgt[0] + 1) * (bbgt[3] - bbgt[1] + 1)
                ov = iw * ih / (ua - iw * ih)
                if ov > ovmax:
                    ovmax, jmax = ov, truth
        if jmax is None or ovmax < least:
            verdicts.append("false")
        elif jmax["diff"]:
            verdicts.append("neither")
        elif jmax["det"]:
            verdicts.append("false")
        else:
            jmax["det"] = True
            verdicts.append("true")
    return verdicts, npos


def verdicts_of(boxes: BoxSet, number: int, threshold: int) -> list[str]:
    matches = match_boxes(boxes, 10_000, IOU_THRESHOLDS)[number]
    hit, ignored = matches.hit[0, threshold], matches.ignored[0, threshold]
    return ["true" if h else "neither" if i else "false" for h, i in zip(hit, ignored, strict=True)]


def in_a_difficult_box() -> tuple[list[Image], list[Image]]:
    """The case of the audit: three false boxes, surer than the right one, inside a difficult box."""
    true = {"boxes": [[0, 0, 20, 20], [40, 40, 140, 140]], "labels": [0, 0], "difficult": [False, True]}
    found = {
        "boxes": [[50, 50, 70, 70], [80, 50, 100, 70], [50, 90, 70, 110], [0, 0, 20, 20]],
        "labels": [0] * 4,
        "scores": [0.9, 0.8, 0.7, 0.6],
    }
    return [true], [found]


def test_false_boxes_inside_a_difficult_one_are_false() -> None:
    targets, found = in_a_difficult_box()
    boxes = join_boxes(targets, found, ["cell"])
    assert voc_evaldet(boxes, 0, 0.5) == (["false", "false", "false", "true"], 1)
    metrics = quick_map(targets, found, ["cell"])
    assert metrics["map50"] == pytest.approx(0.25)
    assert [metrics["precision@op"], metrics["f1@op"]] == pytest.approx([0.25, 0.4])
    # A crowd forgives what lies in it, as in COCO.
    crowd = [{**targets[0], "ignore": targets[0]["difficult"], "difficult": [False, False]}]
    assert quick_map(crowd, found, ["cell"])["map50"] == pytest.approx(1.0)


def test_every_figure_of_the_tables_follows_the_rule() -> None:
    targets, found = in_a_difficult_box()
    targets[0]["ignore"] = targets[0]["difficult"]
    cases, true, predictions = as_tables(targets, found, ["cell"])
    true["difficult"] = targets[0]["difficult"]
    points = detection_operating_points(cases, true, predictions, ["cell"])
    metrics = evaluate_boxes(cases, true, predictions, ["cell"], points, resamples=0).metrics
    assert metrics["map50"].value == metrics["map50/cell"].value == pytest.approx(0.25)
    assert metrics["sensitivity@2fp"].value == 0  # three false boxes stand before the lesion
    assert metrics["sensitivity@4fp"].value == 1
    assert metrics["precision@op"].value == 0.25
    # A table of an earlier version does not say which boxes are difficult: as it was evaluated then.
    before = evaluate_boxes(cases, true.drop(columns="difficult"), predictions, ["cell"], points, resamples=0).metrics
    assert before["map50"].value == pytest.approx(1.0)


def test_a_box_of_which_a_difficult_one_is_the_nearest_counts_neither_way() -> None:
    true = {"boxes": [[0, 0, 20, 20], [0, 0, 20, 30]], "labels": [0, 0], "difficult": [False, True]}
    found = {"boxes": [[0, 0, 20, 28], [0, 0, 20, 21], [0, 0, 20, 19]], "labels": [0] * 3, "scores": [0.9, 0.8, 0.7]}
    boxes = join_boxes([true], [found], ["cell"])
    # COCO would give the first one the true box, from IoU 0.71.
    assert verdicts_of(boxes, 0, 0) == voc_evaldet(boxes, 0, 0.5)[0] == ["neither", "true", "false"]
    points = choose_thresholds(match_boxes(boxes, 100, IOU_THRESHOLDS), ["cell"], 0)
    calls = call_boxes(match_boxes(boxes, 100, IOU_THRESHOLDS), ["cell"], 0, points)
    assert (calls.tp.sum(), calls.fp.sum(), calls.fn.sum()) == (1, 0, 0)


Box = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(4, 30), st.integers(4, 30))


@given(
    difficult=st.lists(Box, max_size=5),
    true=st.sets(st.integers(0, 3), max_size=4),
    found=st.lists(st.tuples(Box, st.integers(1, 5)), min_size=1, max_size=12),
    threshold=st.integers(0, 9),
)
def test_equal_to_the_development_kit(
    difficult: list[tuple[int, ...]], true: set[int], found: list[tuple[tuple[int, ...], int]], threshold: int
) -> None:
    """Of true boxes that overlap, COCO gives a second hit the next free one, and VOC does not: here they lie apart."""
    apart = [(30 * (place % 2), 30 * (place // 2), 26, 24) for place in sorted(true)]
    rows = [*((box, False) for box in apart), *((box, True) for box in difficult)]

    def corners(some: list[tuple[int, ...]]) -> np.ndarray:
        sides = np.array(some, dtype=np.float64).reshape(-1, 4)
        return np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)

    truth = {
        "boxes": corners([box for box, _ in rows]), "labels": [0] * len(rows), "difficult": [mark for _, mark in rows]
    }  # fmt: skip
    said = {
        "boxes": corners([box for box, _ in found]), "labels": [0] * len(found),
        "scores": [score / 5 for _, score in found],
    }  # fmt: skip
    boxes = join_boxes([truth], [said], ["cell"])
    expected, count = voc_evaldet(boxes, 0, min(IOU_THRESHOLDS[threshold], 1 - 1e-10))
    assert verdicts_of(boxes, 0, threshold) == expected
    assert match_boxes(boxes, 100, IOU_THRESHOLDS)[0].truth.sum() == count


@pytest.mark.parametrize("seed", range(3))
def test_nothing_but_difficult_boxes_changes_with_them(seed: int) -> None:
    """Crowds stay crowds beside them, in every range of areas and at every threshold."""
    boxes = random_boxes(seed)
    away = replace(  # difficult boxes that nothing overlaps
        boxes,
        true_image=np.append(boxes.true_image, range(boxes.images)),
        true_label=np.append(boxes.true_label, np.zeros(boxes.images, int)),
        true_boxes=np.concatenate([boxes.true_boxes, np.tile([5000.0, 5000.0, 5040.0, 5040.0], (boxes.images, 1))]),
        ignore=np.append(boxes.ignore, np.ones(boxes.images, bool)),
        difficult=np.append(boxes.difficult, np.ones(boxes.images, bool)),
    )
    areas = list(AREAS.values())
    pairs = zip(match_boxes(boxes, 9, IOU_THRESHOLDS, areas), match_boxes(away, 9, IOU_THRESHOLDS, areas), strict=True)
    for plain, beside in pairs:
        assert np.array_equal(plain.hit, beside.hit)
        assert np.array_equal(plain.ignored, beside.ignored)
        assert np.array_equal(plain.truth, beside.truth)


def test_values_are_those_of_the_library_where_only_difficult_boxes_are_new() -> None:
    """The epoch's metrics and the tables', with and without difficult boxes far from everything."""
    generator = np.random.default_rng(0)
    targets, found = [], []
    for _ in range(6):
        corner = generator.integers(0, 80, (5, 2))
        true = np.concatenate([corner, corner + generator.integers(8, 60, (5, 2))], axis=1).astype(float)
        shaken = np.repeat(true, 2, axis=0) + generator.integers(-4, 5, (10, 4))
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2])
        targets.append({"boxes": true, "labels": generator.integers(0, 2, 5), "ignore": np.zeros(5, bool)})
        found.append({"boxes": shaken, "labels": generator.integers(0, 2, 10), "scores": generator.random(10)})
    far = [
        {
            "boxes": np.concatenate([true["boxes"], [[900, 900, 950, 950]]]),
            "labels": np.append(true["labels"], 0),
            "difficult": np.append(true["ignore"], True),
        }
        for true in targets
    ]
    assert quick_map(far, found, ["a", "b"]) == pytest.approx(quick_map(targets, found, ["a", "b"]), nan_ok=True)
    tables = as_tables(targets, found, ["a", "b"])
    marked = as_tables([{**one, "ignore": one["difficult"]} for one in far], found, ["a", "b"])
    marked[1]["difficult"] = marked[1]["ignore"]
    plain, beside = (evaluate_boxes(*some, ["a", "b"], resamples=0).metrics for some in (tables, marked))
    values = {name: metric.value for name, metric in plain.items()}
    assert {name: metric.value for name, metric in beside.items()} == pytest.approx(values, nan_ok=True)
