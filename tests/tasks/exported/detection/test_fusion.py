"""Weighted boxes fusion: worked by hand, and against a plain reading of the paper's steps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.exported.detection.fusion import FUSION_IOU, fuse_boxes

Found = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


def found(*rows: tuple[float, ...]) -> Found:
    """From rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return table[:, :4], table[:, 4], table[:, 5].astype(np.int64)


def test_by_hand() -> None:
    # IoU of the first two: 100 / 120. Their corners weighted by 0.9 and 0.6 give y2 = 16.2 / 1.5.
    first = found((0, 0, 10, 10, 0.9, 0), (20, 20, 30, 30, 0.8, 0))
    second = found((0, 0, 10, 12, 0.6, 0), (0, 0, 10, 10, 0.5, 1))
    boxes, scores, labels = fuse_boxes([first, second])
    np.testing.assert_allclose(boxes, np.array([[0, 0, 10, 10.8], [20, 20, 30, 30], [0, 0, 10, 10]]))
    np.testing.assert_allclose(scores, [0.75, 0.8 / 2, 0.5 / 2])  # what one of two found counts half
    assert labels.tolist() == [0, 0, 1]


def test_a_box_is_compared_with_the_fused_box() -> None:
    # The third overlaps the first by 65 / 135, less than 0.55, but the fused box of the first two by 75 / 125.
    first = found((0, 0, 10, 10, 0.9, 0), (3.5, 0, 13.5, 10, 0.3, 0))
    boxes, scores, _ = fuse_boxes([first, found((2, 0, 12, 10, 0.9, 0))])
    np.testing.assert_allclose(boxes, [[2.85 / 2.1, 0, 23.85 / 2.1, 10]])
    np.testing.assert_allclose(scores, [2.1 / 3])  # three boxes of two models: not more than 1


def test_nothing_found() -> None:
    nothing = found()
    assert [len(part) for part in fuse_boxes([nothing, nothing])] == [0, 0, 0]
    boxes, scores, labels = fuse_boxes([nothing, found((1, 2, 3, 4, 0.8, 2))])
    np.testing.assert_allclose(boxes, [[1, 2, 3, 4]])
    assert (scores.tolist(), labels.tolist()) == ([0.4], [2])


def literal(models: list[Found]) -> list[tuple[float, ...]]:
    """Section 3 of Solovyev et al. 2021, step by step: lists B, L and F."""
    fused: list[tuple[float, ...]] = []
    for label in sorted({int(one) for model in models for one in model[2]}):
        ranked = sorted(
            ((*box, score) for model in models for box, score, name in zip(*model, strict=True) if name == label),
            key=lambda row: -row[4],
        )
        clusters: list[list[tuple[float, ...]]] = []
        means: list[tuple[float, ...]] = []
        for row in ranked:
            overlaps = [iou(row, mean) for mean in means]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best < 0 or overlaps[best] <= FUSION_IOU:
                clusters.append([row])
                means.append(row)
                continue
            clusters[best].append(row)
            total = sum(one[4] for one in clusters[best])
            corners = [sum(one[4] * one[axis] for one in clusters[best]) / total for axis in range(4)]
            means[best] = (*corners, total / len(clusters[best]))
        for cluster, mean in zip(clusters, means, strict=True):
            fused.append((*mean[:4], mean[4] * min(len(cluster), len(models)) / len(models), label))
    return sorted(fused, key=lambda row: -row[4])


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


@pytest.mark.parametrize("seed", range(5))
def test_as_the_paper_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 200, (12, 2))
    models: list[Found] = []
    for _ in range(3):
        seen = rng.random(12) < 0.8
        corner = truth[seen] + rng.normal(0, 4, (seen.sum(), 2))
        boxes = np.concatenate([corner, corner + rng.uniform(18, 40, (seen.sum(), 2))], axis=1)
        models.append((boxes, rng.uniform(0.01, 1, seen.sum()), np.flatnonzero(seen) % 2))
    boxes, scores, labels = fuse_boxes(models)
    expected = np.array(literal(models))
    np.testing.assert_allclose(boxes, expected[:, :4])
    np.testing.assert_allclose(scores, expected[:, 4])
    np.testing.assert_array_equal(labels, expected[:, 5])
    assert len(scores) < sum(len(one[1]) for one in models)
