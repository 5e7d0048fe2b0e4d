from __future__ import annotations

import torch

from tasks.masked import sum_where
from tests.tasks.fake_cuda import fake_cuda


def test_what_is_masked_bears_on_nothing() -> None:
    values = torch.tensor([1.0, torch.nan, 3.0, torch.inf], requires_grad=True)
    total = sum_where(values, torch.tensor([True, False, True, False]))
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 4.0
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 0.0, 1.0, 0.0]


def test_on_a_gpu_nobody_waits() -> None:
    with fake_cuda():
        values = torch.rand(3, 4, device="cuda")
        assert sum_where(values, values > 0.5).shape == ()
