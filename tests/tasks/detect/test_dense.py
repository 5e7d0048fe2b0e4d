"""Positive anchors by index, and all of them by weight, as on a GPU: the same losses and gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher

from tasks.detect import dense
from tasks.detect.dense import Assigned, SilentMatcher
from tasks.detect.losses import OVERLAP_LOSSES
from tasks.detect.overlaps import decode, each_overlap_loss
from tests.tasks.detect.drawn import detector_of, drawn, levels_of

# CIoU not of FCOS, whose boxes are without height at first: torchvision's is no number then.
LOSSES = {"retinanet": ("smooth_l1", "l1", "giou", "diou", "ciou"), "fcos": ("giou", "diou")}


@pytest.mark.parametrize(("name", "box_loss"), [(name, loss) for name, losses in LOSSES.items() for loss in losses])
@pytest.mark.parametrize("images", [[0, 1, 2, 3], [3]])
def test_all_by_weight_are_the_positive_by_index(
    name: str, box_loss: str, images: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = detector_of(name, box_loss=box_loss)
    pictures, boxes, labels = drawn(images)
    found: list[tuple[dict[str, Tensor], tuple[Tensor, ...]]] = []
    for all_ in (False, True):

        def chosen(*args: Any, all_: bool, force: bool = all_, **options: Any) -> Any:
            assert not all_  # by itself an index on a CPU
            return dense.pairs(*args, all_=force, **options)

        monkeypatch.setattr(f"tasks.detect.{name}.pairs", chosen)
        losses = detector.loss(detector(pictures, levels_of(name, images)), boxes, labels)
        learning = list(detector.parameters())
        grads = torch.autograd.grad(torch.stack(list(losses.values())).sum(), learning)
        found.append((losses, grads))
    (losses, grads), (others, other_grads) = found
    for part, loss in losses.items():
        torch.testing.assert_close(others[part], loss, rtol=1e-4, atol=1e-5)
    for one, other in zip(grads, other_grads, strict=True):
        assert other.isfinite().all()
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)


def test_a_class_is_wanted_where_its_box_is() -> None:
    match = torch.tensor([[0, Matcher.BELOW_LOW_THRESHOLD, Matcher.BETWEEN_THRESHOLDS]])
    truth = Assigned(match, torch.zeros(1, 3, 4), torch.tensor([[1, 1, 0]]))
    assert truth.classes(2).tolist() == [[[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 10**6))
def test_the_matcher_finds_what_that_of_torchvision_finds(boxes: int, anchors: int, seed: int) -> None:
    # Few values, so that many anchors are equally good.
    quality = torch.randint(0, 6, (boxes, anchors), generator=torch.Generator().manual_seed(seed)) / 5
    for low_quality in (True, False):
        mine, its = (matcher(0.5, 0.4, low_quality)(quality) for matcher in (SilentMatcher, Matcher))
        assert torch.equal(mine, its)


def some_boxes(count: int, seed: int) -> Tensor:
    corners = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 20
    sides = 0.5 + 12 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed + 1))
    return torch.cat([corners, corners + sides], dim=1)


@pytest.mark.parametrize("name", OVERLAP_LOSSES)
def test_overlap_losses_are_those_of_torchvision(name: str) -> None:
    wanted = some_boxes(200, 7)
    results = []
    for loss in (OVERLAP_LOSSES[name], partial(each_overlap_loss, name)):
        found = some_boxes(200, 3).requires_grad_()
        values: Tensor = loss(found, wanted)
        values.sum().backward()  # type: ignore[no-untyped-call]
        results.append((values.detach(), found.grad))
    assert 0 < int((results[0][0] < 1).sum()) < 200  # some overlap and some do not
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


def test_a_box_without_sides_has_a_loss_with_a_slope() -> None:
    found = torch.tensor([[5.0, 5.0, 5.0, 5.0]], requires_grad=True)
    loss = each_overlap_loss("ciou", found, torch.tensor([[0.0, 0.0, 10.0, 4.0]])).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    assert loss.isfinite()
    assert found.grad.isfinite().all()


@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_boxes_are_decoded_as_by_torchvision(scales: tuple[float, float, float, float]) -> None:
    coder: Any = BoxCoder(scales)
    codes = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 4
    anchors = some_boxes(50, 5)
    mine = decode(codes, anchors, coder.weights, coder.bbox_xform_clip)
    torch.testing.assert_close(mine, coder.decode_single(codes, anchors))
