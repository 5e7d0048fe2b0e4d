from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from datamodules.types import SuiteError
from tasks.optim import Schedule, build_optimizer, build_schedule, schedule_factor


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2), nn.LayerNorm(2))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw", torch.optim.AdamW),
        ("AdamW", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
    ],
)
def test_by_name(name: str, kind: type, model: nn.Module) -> None:
    optimizer = build_optimizer(model, name, 0.02, 0.1, {})
    assert type(optimizer) is kind
    assert all(group["lr"] == 0.02 for group in optimizer.param_groups)


@pytest.mark.parametrize("name", ["rmsprop", "lamb", "nadamw"])
def test_others_of_timm_take_a_step(name: str, model: nn.Module) -> None:
    optimizer = build_optimizer(model, name, 0.01, 0.0, {})
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.rand(3, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    assert any((old != new).any() for old, new in zip(before, model.parameters(), strict=True))


def test_decay_spares_biases_and_norms(model: nn.Module) -> None:
    optimizer = build_optimizer(model, "adamw", 1e-3, 0.1, {})
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.1 if name in ("0.weight", "3.weight") else 0.0), name


def test_frozen_parameters_are_left_out(model: nn.Module) -> None:
    next(iter(model.children())).requires_grad_(False)
    optimizer = build_optimizer(model, "adamw", 1e-3, 0.1, {})
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}


def test_further_arguments_arrive(model: nn.Module) -> None:
    assert build_optimizer(model, "sgd", 0.1, 0.0, {"momentum": 0.3}).param_groups[0]["momentum"] == 0.3
    assert build_optimizer(model, "adamw", 0.1, 0.0, {"betas": (0.5, 0.6)}).param_groups[0]["betas"] == (0.5, 0.6)


@pytest.mark.parametrize(
    ("name", "lr", "args", "words"),
    [
        ("adamww", 0.1, {}, "--model.optimizer 'adamww' is unknown: did you mean 'adamw'"),
        ("sdg", 0.1, {}, "did you mean 'sgd'"),
        ("zzzzzz", 0.1, {}, "--model.optimizer 'zzzzzz' is unknown"),
        ("adamw", 0.1, {"bogus": 1}, "--model.optimizer_args.*bogus"),
        ("adamw", 0.1, {"betas": [2.0, 0.9]}, "--model.optimizer_args.*betas"),
        ("adamw", -1.0, {}, "--model.lr -1.0"),
    ],
)
def test_mistakes_are_named(name: str, lr: float, args: dict[str, Any], words: str, model: nn.Module) -> None:
    with pytest.raises(SuiteError, match=words):
        build_optimizer(model, name, lr, 0.0, args)


def test_warmup_rises_in_even_steps_to_the_whole() -> None:
    factor = schedule_factor("cosine", steps=100, warmup=0.05)
    assert [factor(step) for step in range(6)] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])


@pytest.mark.parametrize("step", [10, 37, 55, 99, 100, 140])
def test_cosine_is_that_of_the_formula(step: int) -> None:
    expected = 0.5 * (1 + math.cos(math.pi * min(1, (step - 10) / 90)))
    assert schedule_factor("cosine", 100, 0.1)(step) == pytest.approx(expected, abs=1e-12)


def test_cosine_is_a_half_in_the_middle_and_zero_at_the_end() -> None:
    factor = schedule_factor("cosine", 110, 10 / 110)
    assert factor(60) == pytest.approx(0.5)
    assert factor(110) == pytest.approx(0.0)


def test_cosine_without_warmup_is_that_of_torch(model: nn.Module) -> None:
    ours = build_optimizer(model, "sgd", 0.2, 0.0, {})
    schedule = build_schedule(ours, "cosine", 20, 0.0)
    theirs = torch.optim.SGD(model.parameters(), lr=0.2)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=20)
    for _ in range(20):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-9)
        for optimizer, scheduler in ((ours, schedule), (theirs, reference)):
            optimizer.step()
            scheduler.step()


def test_constant_stays_after_the_warmup() -> None:
    factor = schedule_factor("constant", 10, 0.2)
    assert [factor(step) for step in (0, 1, 2, 9, 50)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])


@pytest.mark.parametrize("name", ["cosine", "constant"])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_very_short_trainings_have_a_rate(name: Schedule, steps: int) -> None:
    factor = schedule_factor(name, steps, 0.5)
    assert all(0 <= factor(step) <= 1 for step in range(4))
    assert factor(0) > 0


@pytest.mark.parametrize("warmup", [-0.1, 1.0, 20])
def test_warmup_is_a_share(warmup: float) -> None:
    with pytest.raises(SuiteError, match=r"--model.warmup"):
        schedule_factor("cosine", 100, warmup)
