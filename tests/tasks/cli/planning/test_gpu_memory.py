"""A planned batch stays within the memory of the GPU, by a trial of steps; here on a processor that counts as one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from tasks.cli.planning import planner
from tasks.cli.planning.trial import fits_of
from tasks.cli.training.memory import MemoryTrial
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.planning.budget import Fits
from tasks.planning.machine import Machine

SMALL = ["--data.num_patients", "24", "--data.num_workers", "0", "--model.backbone", "resnet10t"]
PHANTOMS = "datamodules.phantoms.labels.Phantoms"


def fits_on(monkeypatch: pytest.MonkeyPatch, holds: int) -> tuple[Fits, list[dict[str, Any]]]:
    """The trial, on a machine that holds some images at a time; and the steps and images of each training it tried."""
    for name, value in (("mem_get_info", (2**30, 2**30)), ("memory_reserved", 0), ("max_memory_reserved", 2**20)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    trained: list[dict[str, Any]] = []
    whole = Trainer.fit

    def fit(trainer: Trainer, model: Any, datamodule: Any) -> None:
        if datamodule.batch_size > holds:
            raise torch.cuda.OutOfMemoryError
        whole(trainer, model, datamodule=datamodule)
        trained.append({"images": datamodule.batch_size, "steps": trainer.global_step, "cache": datamodule.cache})

    monkeypatch.setattr(Trainer, "fit", fit)
    return fits_of("classify", SMALL, OWN_FLAGS, PHANTOMS), trained


def test_a_trial_takes_steps_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    fits, trained = fits_on(monkeypatch, 4)
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    plan = {"data.image_size": 32, "data.cache": "memory", "trainer.max_epochs": 40}
    assert not fits({**plan, "data.batch_size": 8})
    assert fits({**plan, "data.batch_size": 4})
    assert fits({**plan, "data.batch_size": 4})
    assert trained == [{"images": 4, "steps": 3, "cache": "none"}]  # asked twice, tried once
    assert torch.rand(1) == before


def test_another_mistake_is_left_to_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(trial: MemoryTrial, batch: int) -> int | None:
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(MemoryTrial, "peak", broken)
    assert fits_of("classify", SMALL, OWN_FLAGS, PHANTOMS)({"data.batch_size": 8})


@pytest.mark.parametrize(
    ("more", "planned"),
    [
        ([], {"data.batch_size": 2, "trainer.accumulate_grad_batches": 2}),
        (["--data.batch_size", "4"], {}),
        (["--memory", "1GiB"], {"data.batch_size": 4}),
        (["--find_batch_size", "true"], {"data.batch_size": 4}),
    ],
)
def test_the_plan_of_a_gpu_has_what_fits(
    more: list[str], planned: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "machine_of", lambda *_: Machine("cuda"))
    monkeypatch.setattr(MemoryTrial, "peak", lambda _, batch: 2**20 if batch <= 2 else None)
    plan = planner.plan_for("classify", [*SMALL, *more], OWN_FLAGS).plan
    found = {one.flag: one.value for one in plan.planned}
    flags = ("data.batch_size", "trainer.accumulate_grad_batches")
    assert {flag: found[flag] for flag in flags if flag in found} == planned
