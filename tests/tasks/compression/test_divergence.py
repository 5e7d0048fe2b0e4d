"""Divergences against torch's distributions, also where a sigmoid is 0 or 1 in float32."""

from __future__ import annotations

import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from tasks.compression.divergence import sigmoid_divergence, softmax_divergence


def test_both_are_those_of_the_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    own, wanted = 3 * torch.randn(2, 5, 4, generator=generator)
    expected = kl_divergence(Categorical(logits=wanted), Categorical(logits=own))
    torch.testing.assert_close(softmax_divergence(own, wanted, dim=1), expected)
    torch.testing.assert_close(
        sigmoid_divergence(own, wanted), kl_divergence(Bernoulli(logits=wanted), Bernoulli(logits=own))
    )


def test_sure_logits_give_finite_numbers_and_slopes() -> None:
    own = torch.tensor([-200.0, 200.0, 0.0], requires_grad=True)
    value = sigmoid_divergence(own, torch.tensor([200.0, 200.0, -200.0]))
    torch.testing.assert_close(value.detach(), torch.tensor([200.0, 0.0, 0.6931472]))
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None
    assert own.grad.isfinite().all()
