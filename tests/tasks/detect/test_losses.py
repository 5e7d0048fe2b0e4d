"""The losses of boxes worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder

from tasks.detect.losses import box_loss, shares

CODER: Any = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
ANCHOR = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
STILL = torch.zeros(1, 4)  # the call is the anchor itself


def test_offsets_by_hand() -> None:
    # 1 px to the right and twice as wide: offsets of 0.6 (the centre moves by 6) and ln 2.
    truth = torch.tensor([[1.0, 0.0, 21.0, 10.0]])
    assert box_loss("l1", CODER, ANCHOR, truth, STILL).item() == pytest.approx(0.6 + math.log(2), rel=1e-6)
    smooth = (0.6 - 1 / 18) + (math.log(2) - 1 / 18)
    assert box_loss("smooth_l1", CODER, ANCHOR, truth, STILL).item() == pytest.approx(smooth, rel=1e-6)
    # Below a ninth it is a parabola: 9 d^2 / 2.
    near = torch.tensor([[1.0, 0.0, 11.0, 10.0]])
    assert box_loss("smooth_l1", CODER, ANCHOR, near, STILL).item() == pytest.approx(4.5 * 0.01, rel=1e-5)


def test_overlaps_by_hand() -> None:
    # Half of each box lies in the other: intersection 50, union 150, hull 150.
    truth = torch.tensor([[5.0, 0.0, 15.0, 10.0]])
    assert box_loss("giou", CODER, ANCHOR, truth, STILL).item() == pytest.approx(2 / 3, rel=1e-5)
    # The centres are 5 apart, the corners of the hull sqrt(15^2 + 10^2); the shapes are the same.
    for name in ("diou", "ciou"):
        value = box_loss(name, CODER, ANCHOR, truth, STILL).item()
        assert value == pytest.approx(2 / 3 + 25 / 325, rel=1e-5), name
    # Side by side with a gap of 10: a third of the hull is empty.
    apart = torch.tensor([[20.0, 0.0, 30.0, 10.0]])
    assert box_loss("giou", CODER, ANCHOR, apart, STILL).item() == pytest.approx(1 + 1 / 3, rel=1e-5)


def test_ciou_adds_the_shape_by_hand() -> None:
    # The same centre, twice as wide: IoU 1/2; v = 4 / pi^2 (atan 2 - atan 1)^2, weighted by v / (1 - IoU + v).
    truth = torch.tensor([[-5.0, 0.0, 15.0, 10.0]])
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    expected = 0.5 + v * v / (0.5 + v)
    assert box_loss("ciou", CODER, ANCHOR, truth, STILL).item() == pytest.approx(expected, rel=1e-4)
    assert box_loss("diou", CODER, ANCHOR, truth, STILL).item() == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("name", ["l1", "smooth_l1", "giou", "diou", "ciou"])
def test_a_right_box_costs_nothing_and_none_at_all_neither(name: str) -> None:
    assert box_loss(name, CODER, ANCHOR, ANCHOR, STILL).item() == pytest.approx(0, abs=1e-6)
    codes = torch.zeros(0, 4, requires_grad=True)
    loss = box_loss(name, CODER, torch.zeros(0, 4), torch.zeros(0, 4), codes)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0


def test_what_a_sum_is_divided_by_is_at_least_one() -> None:
    assert shares(torch.tensor([0.0, 3.0])).tolist() == [1.0, 3.0]
