"""Suppression of overlapping boxes, against plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from tasks.detect.interface import DecodeSettings
from tasks.detect.nms import select, soft_nms


def boxes_of(count: int, seed: int = 0, side: float = 100.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * side
    size = torch.rand(count, 2, generator=generator) * 40 + 2
    scores = torch.rand(count, generator=generator)
    return torch.cat([corner, corner + size], dim=1), scores, torch.randint(3, (count,), generator=generator)


def overlap(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def plain(boxes: Tensor, scores: Tensor, sigma: float) -> list[tuple[int, float]]:
    """The algorithm of the paper for one class, figure 2."""
    left = dict(enumerate(scores.tolist()))
    found = []
    while left:
        best = max(left, key=left.__getitem__)
        found.append((best, left.pop(best)))
        for number in left:
            iou = overlap(boxes[best].tolist(), boxes[number].tolist())
            left[number] *= math.exp(-(iou**2) / sigma)
    return found


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_soft_nms_is_that_of_the_paper(sigma: float) -> None:
    boxes, scores, labels = boxes_of(60)
    expected: list[tuple[float, int]] = []
    for label in range(3):
        numbers = (labels == label).nonzero()[:, 0]
        found = plain(boxes[numbers], scores[numbers], sigma)
        expected += [(score, int(numbers[number])) for number, score in found]
    expected.sort(reverse=True)
    chosen, lowered = soft_nms(boxes, scores, labels, sigma, 1000)
    assert chosen.tolist() == [number for _, number in expected]
    torch.testing.assert_close(lowered, torch.tensor([score for score, _ in expected]))
    assert not torch.equal(lowered, scores[chosen])
    # Fewer rounds give the first of them.
    assert soft_nms(boxes, scores, labels, sigma, 7)[0].tolist() == chosen[:7].tolist()


def test_soft_nms_of_nothing() -> None:
    chosen, lowered = soft_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5, 10)
    assert chosen.shape == lowered.shape == (0,)
    assert chosen.dtype == torch.int64


def test_soft_nms_keeps_a_neighbour_that_nms_drops() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [3.0, 0.0, 13.0, 10.0], [0.0, 0.0, 10.0, 10.0]])
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1])
    hard = select(boxes, scores, labels, (20, 20), DecodeSettings())
    assert hard.scores.tolist() == pytest.approx([0.9, 0.7])  # the other class is not touched
    soft = select(boxes, scores, labels, (20, 20), DecodeSettings(nms="soft"))
    assert soft.labels.tolist() == [0, 1, 0]
    assert soft.scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * math.exp(-((7 / 13) ** 2) / 0.5)])
    assert soft.boxes.tolist() == [boxes[number].tolist() for number in (0, 2, 1)]


def test_nms_by_class() -> None:
    boxes, scores, labels = boxes_of(80)
    found = select(boxes, scores, labels, (1000, 1000), DecodeSettings(0.0, nms_iou=0.3, max_detections=1000))
    kept = {
        int(number)
        for label in range(3)
        for number in (labels == label).nonzero()[:, 0][nms(boxes[labels == label], scores[labels == label], 0.3)]
    }
    assert len(found.boxes) == len(kept) < 80
    torch.testing.assert_close(found.scores, scores[list(kept)].sort(descending=True).values)


@pytest.mark.parametrize("name", ["nms", "soft"])
def test_what_lies_outside_is_clipped_or_dropped(name: str) -> None:
    boxes = torch.tensor(
        [[-5.0, -5.0, 8.0, 8.0], [60.0, 2.0, 70.0, 9.0], [30.0, 30.0, 44.0, 90.0], [1.0, 1.0, 1.0, 4.0]]
    )
    scores, labels = torch.tensor([0.5, 0.9, 0.4, 0.8]), torch.zeros(4, dtype=torch.int64)
    found = select(boxes, scores, labels, (40, 50), DecodeSettings(nms=name))  # type: ignore[arg-type]
    assert found.boxes.tolist() == [[0.0, 0.0, 8.0, 8.0], [30.0, 30.0, 44.0, 40.0]]
    assert found.scores.tolist() == pytest.approx([0.5, 0.4])
    assert not len(select(boxes, scores, labels, (40, 50), DecodeSettings(0.95, nms=name)).boxes)  # type: ignore[arg-type]
