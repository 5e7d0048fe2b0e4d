"""A training that ends on time, by a clock of ours: steps and validations take as long as the test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

from scansuite.errors import SuiteError
from tasks.steps import Steps
from tasks.training.configuring import step_plateau
from tasks.training.on_time import OnTime
from tasks.training.pace import Pace
from tasks.training.schedules import Schedule, Span, build_schedules
from tasks.training.settings import ScheduleSettings
from tasks.training.stopping.resuming import Resuming


class Machine(Callback):
    """Lets time pass: a batch takes as many seconds as ``a_batch`` says of its number, a validation ``validation``."""

    def __init__(self, a_batch: Callable[[int], float], validation: float = 1.0) -> None:
        self.a_batch, self.validation = a_batch, validation
        self.time, self.rates, self.validated = 0.0, [], []  # type: ignore[var-annotated]

    def now(self) -> float:
        return float(self.time)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.time += self.a_batch(trainer.global_step)
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.time += self.validation
        self.validated.append(trainer.global_step)


class Small(LightningModule):
    """One weight, optimised and scheduled as a task is."""

    lr_scheduler_step = Steps.lr_scheduler_step

    def __init__(self, schedule: Schedule = "cosine", warmup: float = 0.0) -> None:
        super().__init__()
        self.settings = ScheduleSettings(schedule, {}, warmup)
        self.weight = nn.Parameter(torch.zeros(1))
        self.pace: Pace | None = None

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", 1.0)

    def on_train_epoch_end(self) -> None:
        step_plateau(self.trainer)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
        steps = int(self.trainer.estimated_stepping_batches)
        by_step, by_epoch = build_schedules(
            optimizer, self.settings.name, {}, lr=0.01, span=Span(10, 8, steps), warmup=self.settings.warmup
        )
        schedules: list[Any] = [] if by_step is None else [{"scheduler": by_step, "interval": "step"}]
        if by_epoch is not None:
            schedules.append({"scheduler": by_epoch, "monitor": "val/loss", "frequency": 10**9})
        return [optimizer], schedules


class KilledError(Exception):
    pass


class KillAfter(Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.current_epoch == self.epochs:
            raise KilledError


def trained(
    seconds: float,
    machine: Machine,
    *more: Callback,
    started: float = 0.0,
    stretches: bool = True,
    validating: float | None = None,
    folder: Path | None = None,
    checkpoint: Path | None = None,
    flags: dict[str, Any] | None = None,
    validated: int = 1,
    **trainer: Any,
) -> Trainer:
    model = Small(**(flags or {}))
    on_time = OnTime(
        seconds, started, lambda validation: 2 * validation, stretches=stretches, validating=validating, now=machine.now
    )
    callbacks: list[Callback] = [Resuming(), machine, on_time, *more]
    if folder is not None:
        callbacks.append(ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False))
    runner = Trainer(
        accelerator="cpu", callbacks=callbacks, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=folder is not None, **{"max_epochs": 10, "num_sanity_val_steps": 0, **trainer},
    )  # fmt: skip
    path = None if checkpoint is None else str(checkpoint)
    runner.fit(model, batches(8), batches(validated), ckpt_path=path, weights_only=True)
    return runner


def batches(count: int) -> DataLoader[Any]:
    return DataLoader(torch.zeros(count, 1), batch_size=1)  # type: ignore[arg-type]


def pace_of(trainer: Trainer) -> Any:
    return next(one for one in trainer.callbacks if isinstance(one, OnTime)).pace  # type: ignore[attr-defined]


@pytest.mark.parametrize("a_batch", [0.2, 2.0])
@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "polynomial"])
def test_whatever_a_step_takes_the_command_ends_on_time_and_the_schedule_at_its_end(
    a_batch: float, schedule: str
) -> None:
    machine = Machine(lambda step: a_batch)
    trainer = trained(100.0, machine, flags={"schedule": schedule, "warmup": 0.1})
    assert machine.time + 2 * machine.validation == pytest.approx(100.0, abs=max(3.0, 3 * a_batch))
    assert pace_of(trainer).taken == 80
    assert trainer.optimizers[0].param_groups[0]["lr"] < 1e-6
    assert machine.validated[-1] == trainer.global_step  # what is trained is validated
    peak = machine.rates.index(max(machine.rates))
    share = 0.1 + 0.9 * 0.3 if schedule == "onecycle" else 0.1
    if len(machine.rates) > 40:
        assert peak / len(machine.rates) == pytest.approx(share, abs=0.15)


def test_a_machine_that_becomes_three_times_slower_is_waited_for_no_longer() -> None:
    machine = Machine(lambda step: 0.5 if step < 60 else 1.5)
    trainer = trained(100.0, machine)
    assert machine.time + 2 == pytest.approx(100.0, abs=5.0)
    assert pace_of(trainer).taken == 80


def test_an_epoch_that_is_longer_than_the_time_ends_within_it_and_is_validated() -> None:
    machine = Machine(lambda step: 6.0)
    trainer = trained(30.0, machine)
    assert trainer.global_step in (4, 5)  # what a validation takes is not known before there has been one
    assert machine.validated == [trainer.global_step]
    assert trainer.optimizers[0].param_groups[0]["lr"] < 1e-6


def test_an_epoch_that_is_longer_than_the_time_leaves_room_for_a_validation_that_was_tried() -> None:
    machine = Machine(lambda step: 6.0)
    trainer = trained(60.0, machine, validated=4, num_sanity_val_steps=2)  # a validation of 4 s, evaluation of 8
    assert trainer.global_step == 7
    assert machine.time + 8 == pytest.approx(60.0, abs=6.0)
    assert machine.validated[-1] == trainer.global_step


@pytest.mark.parametrize(
    "when", [{"val_check_interval": 3}, {"val_check_interval": 5, "check_val_every_n_epoch": None}]
)
@pytest.mark.parametrize("a_batch", [0.2, 1.1])
def test_validations_within_epochs_have_their_time_and_the_last_steps_are_validated(
    when: dict[str, Any], a_batch: float
) -> None:
    machine = Machine(lambda step: a_batch)
    trainer = trained(60.0, machine, **when)
    assert machine.time + 2 == pytest.approx(60.0, abs=5.0)
    assert machine.validated[-1] == trainer.global_step
    assert pace_of(trainer).taken == 80


def test_no_longer_than_planned_where_that_is_not_asked_for() -> None:
    machine = Machine(lambda step: 0.1)
    trainer = trained(100.0, machine, stretches=False)
    assert (trainer.global_step, trainer.current_epoch) == (80, 10)
    assert machine.time == pytest.approx(80 * 0.1 + 10)


def test_seldom_validated_trainings_validate_their_end_too() -> None:
    machine = Machine(lambda step: 0.5, validation=3.0)
    trainer = trained(100.0, machine, check_val_every_n_epoch=4)
    assert machine.time + 6 == pytest.approx(100.0, abs=5.0)
    assert machine.validated[-1] == trainer.global_step


def test_a_trial_that_had_steps_too_slow_is_made_up_for_by_fewer_validations() -> None:
    # 10 epochs of 8 steps were laid out; there is time for 60, and each validation takes as long as ten epochs.
    machine = Machine(lambda step: 0.1, validation=8.0)
    every = trained(500.0, machine)
    thinned = Machine(lambda step: 0.1, validation=8.0)
    trainer = trained(500.0, thinned, validating=0.2)
    assert thinned.time + 16 == pytest.approx(500.0, abs=17.0)  # within one stretch between two validations
    assert trainer.global_step > 3 * every.global_step
    assert 9 <= len(thinned.validated) <= 20
    assert thinned.validated[-1] == trainer.global_step
    assert pace_of(trainer).taken == 80


def test_validations_that_take_their_share_stay() -> None:
    machine = Machine(lambda step: 0.5, validation=0.8)
    trainer = trained(100.0, machine, validating=0.2)
    assert len(machine.validated) == trainer.current_epoch


def test_accumulated_gradients_are_steps_of_several_batches() -> None:
    machine = Machine(lambda step: 0.5)
    trainer = trained(60.0, machine, accumulate_grad_batches=3)
    assert machine.time + 2 == pytest.approx(60.0, abs=4.0)
    assert pace_of(trainer).taken == pace_of(trainer).total == 30  # 3 steps an epoch


def test_steps_that_are_given_are_not_passed() -> None:
    machine = Machine(lambda step: 0.1)
    trainer = trained(100.0, machine, stretches=False, max_epochs=-1, max_steps=20)
    assert trainer.global_step == 20


def test_a_plateau_schedule_is_left_to_its_metric() -> None:
    trainer = trained(30.0, Machine(lambda step: 0.5), flags={"schedule": "plateau"})
    assert pace_of(trainer).taken == 0
    assert trainer.optimizers[0].param_groups[0]["lr"] > 0


@pytest.mark.parametrize("killed", [2, 13])
def test_a_run_that_goes_on_has_the_rest_of_its_time(killed: int, tmp_path: Path) -> None:
    """The second: in an epoch that there is only because the machine was faster than planned."""
    machine = Machine(lambda step: 0.2)
    with pytest.raises(KilledError):
        trained(60.0, machine, KillAfter(killed), folder=tmp_path)
    before = machine.time
    later = Machine(lambda step: 0.2)
    trainer = trained(60.0, later, folder=tmp_path, checkpoint=tmp_path / "last.ckpt")
    assert before + later.time + 2 == pytest.approx(60.0, abs=4.0)
    assert pace_of(trainer).taken == 80
    assert trainer.optimizers[0].param_groups[0]["lr"] < 1e-6


def test_a_run_whose_training_is_over_trains_no_more(tmp_path: Path) -> None:
    machine = Machine(lambda step: 1.1)
    first = trained(30.0, machine, folder=tmp_path)
    again = trained(30.0, Machine(lambda step: 1.1), folder=tmp_path, checkpoint=tmp_path / "last.ckpt")
    assert again.global_step == first.global_step


def test_a_time_that_is_over_before_the_first_step_is_refused_with_what_would_do() -> None:
    machine = Machine(lambda step: 0.1)
    with pytest.raises(SuiteError, match=r"--time 10 s: 11 s are over .* give at least --time 33s"):
        trained(10.0, machine, started=-11.0)
