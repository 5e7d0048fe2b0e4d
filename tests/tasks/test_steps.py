"""A training step tells the host nothing: on a GPU nobody waits for the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from tests.tasks.fake_cuda import WaitsForGpuError, fake_cuda, move, on_fake_cuda
from tests.tasks.step_cases import CASES, WAITING

WAITS = (WaitsForGpuError, DataDependentOutputException, DynamicOutputShapeException)


def step_on_fake_gpu(case: Any) -> torch.Tensor:
    model, batch = case()
    model.log = lambda *args, **kwargs: None  # of Lightning, which has no trainer here
    model.train()
    with fake_cuda():
        move(model)
        loss: torch.Tensor = model.training_step(on_fake_cuda(batch), 1)
    return loss


@pytest.mark.parametrize("name", CASES)
def test_no_step_waits_for_the_device(name: str) -> None:
    loss = step_on_fake_gpu(CASES[name])
    assert loss.is_cuda
    assert loss.requires_grad
    assert loss.shape == ()


@pytest.mark.parametrize("name", WAITING)
def test_what_has_to_wait_shows(name: str) -> None:
    """So that the test above can fail, and nobody believes that these do not."""
    with pytest.raises(WAITS):
        step_on_fake_gpu(WAITING[name])


@pytest.mark.parametrize(
    "waiting",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: torch.tensor([1.0], device=x.device),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: x.view(1, 3).requires_grad_().prod(dim=1),
        lambda x: x.index_put((x > 0,), torch.zeros(3, device=x.device)),
    ],
)
def test_each_way_to_wait_is_found(waiting: Any) -> None:
    with fake_cuda(), pytest.raises(WAITS):
        waiting(torch.rand(3, device="cuda"))
