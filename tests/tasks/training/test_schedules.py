"""Learning rates as a real trainer sees them, against the formulas of the textbooks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from scansuite.errors import SuiteError
from tasks.training.schedules import ARGS, Span, build_schedules, check_schedule
from tests.tasks.classify.batches import random_labels, small_batch, small_task
from tests.tasks.training.fits import LearnsNothing

LR, EPOCHS, BATCHES, RISING = 0.1, 6, 5, 3
REST = EPOCHS * BATCHES - RISING
SCORES = [0.5, 0.6, 0.6, 0.6, 0.7, 0.7]  # of each epoch, for plateau


class Rates(Callback):
    """Notes the learning rate of each step, before it is taken."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append([float(group["lr"]) for group in trainer.optimizers[0].param_groups])


class Scripted(LearnsNothing):
    """Its validation AUROC is what the script says."""

    def on_validation_epoch_end(self) -> None:
        self.log("val/auroc", SCORES[self.current_epoch])


def rates(*, batches: int = BATCHES, accumulate: int = 1, max_steps: int = -1, **flags: Any) -> list[list[float]]:
    """The learning rates of the parameter groups at each batch."""
    given = dict(small_task(input_size=(32, 32), **{"lr": LR, "optimizer": "sgd", "warmup": 0.1, **flags}).hparams)
    batch, callback = small_batch(random_labels("binary", 4)), Rates()
    Trainer(
        max_epochs=EPOCHS if max_steps == -1 else None, max_steps=max_steps, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[callback], accumulate_grad_batches=accumulate, num_sanity_val_steps=0,
    ).fit(Scripted(**given), loader(batch, batches), loader(batch, 1))  # fmt: skip
    return callback.seen


def loader(batch: Any, count: int) -> DataLoader[Any]:
    return DataLoader([batch] * count, batch_size=None)  # type: ignore[arg-type]


def rise(step: int) -> float:
    return min(1.0, (step + 1) / (RISING + 1))


def after(step: int, curve: Callable[[int], float]) -> float:
    """The warm-up to where the curve begins, then the curve."""
    return rise(step) * curve(0) if step < RISING else curve(step - RISING)


def half_cosine(share: float, high: float = 1.0, low: float = 0.0) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


def restarts(step: int) -> float:
    start, period = 0, BATCHES
    while step - start >= period:
        start, period = start + period, period * 2
    return half_cosine((step - start) / period)


def one_cycle(step: int) -> float:
    peak = 0.3 * (REST + 1) - 1
    if step <= peak:
        return half_cosine(step / peak, 1 / 25, 1.0)
    return half_cosine((step - peak) / (REST - peak), 1.0, 1 / 25 / 1e4)


# Name -> arguments, and the factor on the learning rate at each step.
CURVES: dict[str, tuple[str, dict[str, Any], Callable[[int], float]]] = {
    "constant": ("constant", {}, rise),
    "step": ("step", {"step_size": 2, "gamma": 0.5}, lambda t: rise(t) * 0.5 ** (t // 10)),
    "step by itself": ("step", {}, lambda t: rise(t) * 0.1 ** (t // 10)),
    "multistep": ("multistep", {"milestones": [2, 5]}, lambda t: rise(t) * 0.1 ** ((t >= 10) + (t >= 25))),
    "exponential": ("exponential", {"gamma": 0.9}, lambda t: rise(t) * 0.9 ** (t // BATCHES)),
    "cosine": ("cosine", {}, lambda t: after(t, lambda u: half_cosine(u / REST))),
    "cosine to a floor": ("cosine", {"min_lr": 0.02}, lambda t: after(t, lambda u: half_cosine(u / REST, 1.0, 0.2))),
    "cosine up again": ("cosine", {"t_max": 2}, lambda t: after(t, lambda u: half_cosine(u / 10))),
    "cosine_restarts": ("cosine_restarts", {"t_0": 1, "t_mult": 2}, lambda t: after(t, restarts)),
    "cyclic": (
        "cyclic", {"base_lr": 0.02, "step_size_up": 1},
        lambda t: after(t, lambda u: 0.2 + 0.8 * (1 - abs(u % 10 / BATCHES - 1))),
    ),
    "onecycle": ("onecycle", {}, lambda t: after(t, one_cycle)),
    "polynomial": ("polynomial", {"power": 2.0}, lambda t: after(t, lambda u: (1 - u / REST) ** 2)),
    # The best stands since epoch 1; epoch 3 is the second without a better one, and epoch 4 brings one.
    "plateau": ("plateau", {"factor": 0.5, "patience": 1}, lambda t: rise(t) * (0.5 if t >= 20 else 1.0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CURVES)
def test_curve_of_the_formula(case: str) -> None:
    name, args, factor = CURVES[case]
    seen = rates(schedule=name, schedule_args=args)
    assert len(seen) == EPOCHS * BATCHES
    expected = [LR * factor(step) for step in range(EPOCHS * BATCHES)]
    assert [groups[0] for groups in seen] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_every_schedule_has_its_curve_here() -> None:
    assert {name for name, _, _ in CURVES.values()} == set(ARGS)


@pytest.mark.parametrize("name", ["cosine", "step", "onecycle", "cyclic", "plateau"])
def test_groups_keep_their_ratio(name: str) -> None:
    seen = rates(schedule=name, backbone_lr_factor=0.25)
    assert len({len(groups) for groups in seen}) == 1
    for groups in seen:
        assert min(groups) == pytest.approx(max(groups) / 4)


def test_accumulation_counts_steps_of_the_optimiser() -> None:
    seen = [groups[0] for groups in rates(accumulate=2, warmup=0.0, schedule="step", schedule_args={"step_size": 1})]
    # Five batches are three steps of the optimiser; the rate falls with the epoch.
    assert seen == pytest.approx([LR * 0.1 ** (batch // BATCHES) for batch in range(EPOCHS * BATCHES)])
    cosine = [groups[0] for groups in rates(accumulate=2, warmup=0.0)]
    starts = [cosine[batch] for batch in range(0, EPOCHS * BATCHES, BATCHES)]
    assert starts == pytest.approx([LR * half_cosine(epoch / EPOCHS) for epoch in range(EPOCHS)])


def test_max_steps_end_the_curve_within_an_epoch() -> None:
    cosine = [groups[0] for groups in rates(max_steps=12, warmup=0.0)]
    assert cosine == pytest.approx([LR * half_cosine(step / 12) for step in range(12)])
    step = [groups[0] for groups in rates(max_steps=12, warmup=0.0, schedule="step", schedule_args={"step_size": 1})]
    assert step == pytest.approx([LR * 0.1 ** (batch // BATCHES) for batch in range(12)])


def build(name: str, args: dict[str, Any], steps: int = 40, warmup: float = 0.0, **optimizer: Any) -> Any:
    made = torch.optim.SGD([nn.Parameter()], lr=LR, **optimizer)
    return build_schedules(made, name, args, lr=LR, span=Span(4, 10, steps), warmup=warmup)


@pytest.mark.parametrize("name", ARGS)
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_very_short_trainings_have_a_rate(name: str, steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter()], lr=LR, momentum=0.9)
    schedule, _ = build_schedules(optimizer, name, {}, lr=LR, span=Span(1, max(1, steps), steps), warmup=0.5)
    for _ in range(steps):
        assert 0 < optimizer.param_groups[0]["lr"] <= LR
        optimizer.step()
        if schedule is not None:
            schedule.step()


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("cosin", {}, "--model.schedule 'cosin' is unknown: did you mean 'cosine'"),
        ("step", {"stepsize": 3}, "--model.schedule_args.stepsize: .* did you mean 'step_size'"),
        ("constant", {"gamma": 3}, "--model.schedule_args.gamma: the schedule constant does not take it: leave it out"),
        ("step", {"step_size": 0}, "--model.schedule_args .*: step does not take these values: 0 epochs"),
        ("step", {"step_size": "many"}, "--model.schedule_args.step_size many: expected a number"),
        ("multistep", {"milestones": 3}, "--model.schedule_args.*multistep"),
        ("exponential", {"gamma": -1}, "gamma -1: must be above 0"),
        ("plateau", {"factor": 2.0}, "--model.schedule_args.*plateau does not take these values: Factor"),
        ("plateau", {"patience": "long"}, "--model.schedule_args.patience long: expected a number"),
        ("cosine", {"min_lr": 1.0}, "min_lr 1.0 lies above the lowest learning rate"),
        ("cosine_restarts", {"t_mult": 0}, "--model.schedule_args.*cosine_restarts"),
        ("cyclic", {"mode": "square"}, "--model.schedule_args.*cyclic.*mode"),
        ("onecycle", {"pct_start": 2.0}, "--model.schedule_args.*onecycle"),
        ("polynomial", {"t_max": -1}, "--model.schedule_args.*-1 epochs"),
    ],
)
def test_mistakes_are_named_at_start(name: str, args: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        check_schedule(name, args, LR, 0.05)


@pytest.mark.parametrize("warmup", [-0.1, 1.0, 20])
def test_warmup_is_a_share(warmup: float) -> None:
    with pytest.raises(SuiteError, match=r"--model.warmup"):
        build("cosine", {}, warmup=warmup)


@pytest.mark.parametrize("name", [name for name in ARGS if name != "plateau"])
def test_states_are_plain_values(name: str, tmp_path: Any) -> None:
    schedule, _ = build(name, {}, warmup=0.2, momentum=0.9)
    torch.save(schedule.state_dict(), tmp_path / "state.pt")
    again, _ = build(name, {}, warmup=0.2, momentum=0.9)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
