"""What a student's masks cost beside a teacher's, where pixels without annotation bear on nothing."""

from __future__ import annotations

import math

import pytest
import torch

from tasks.segment.distillation import imitation
from tests.tasks.segment.batches import small_batch, small_task

QUARTER = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # of (3/4, 1/4) from (1/2, 1/2)


def test_two_pixels_by_hand() -> None:
    output = torch.zeros(1, 2, 1, 3)
    wanted = torch.zeros(1, 2, 1, 3)
    wanted[0, 0, 0, 0], wanted[0, 0, 0, 2] = math.log(3), 50.0  # the last pixel is not annotated
    mask = torch.tensor([[[0, 1, 255]]])
    value = imitation(output, wanted, mask, overlapping=False, ignore_index=255, temperature=1.0)
    assert value.item() == pytest.approx(QUARTER / 2, rel=1e-5)


def test_regions_by_hand() -> None:
    output, wanted = torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, 1, 2)
    wanted[0, 1] = 2 * math.log(3)
    mask = torch.tensor([[[[0, 1]], [[1, 255]]]])
    value = imitation(output, wanted, mask, overlapping=True, ignore_index=255, temperature=2.0)
    assert value.item() == pytest.approx(4 * QUARTER / 3, rel=1e-5)


def test_nothing_known_costs_nothing() -> None:
    output = torch.randn(1, 3, 4, 4, requires_grad=True)
    mask = torch.full((1, 4, 4), 255)
    loss = imitation(output, torch.randn(1, 3, 4, 4), mask, overlapping=False, ignore_index=255, temperature=1.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert output.grad is not None
    assert output.grad.abs().sum() == 0


def test_the_task_compares_logits_of_the_image() -> None:
    model = small_task()
    batch = small_batch(2)
    output = model(batch["image"])
    assert model.imitation(output, output.detach(), batch, model, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert model.imitation(output, -output.detach(), batch, model, 1.0).item() > 0
    assert "regions overlap" in model.unlike(small_task(overlapping=True))
