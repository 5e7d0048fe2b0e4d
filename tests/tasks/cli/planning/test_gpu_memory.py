"""A planned batch stays within the memory of the GPU, by a trial of steps; here on a processor that counts as one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from tasks.cli.planning import planner
from tasks.cli.planning.trial import _one_device, holds_of
from tasks.cli.training.memory import MemoryTrial, lacks_memory
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.planning.budget import Holds
from tasks.planning.machine import Machine

SMALL = ["--data.num_patients", "24", "--data.num_workers", "0", "--model.backbone", "resnet10t"]
PHANTOMS = "datamodules.phantoms.labels.Phantoms"


def holds_on(monkeypatch: pytest.MonkeyPatch, holds: int) -> tuple[Holds, list[dict[str, Any]]]:
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
    return holds_of("classify", SMALL, OWN_FLAGS, PHANTOMS), trained


PLAN = {"data.image_size": 32, "data.cache": "none", "trainer.max_epochs": 40}


def test_a_trial_takes_steps_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    holds, trained = holds_on(monkeypatch, 4)
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    assert holds(PLAN, [8, 4, 2]) == 4
    assert holds(PLAN, [8, 4, 2]) == 4
    assert trained == [{"images": 4, "steps": 3, "cache": "none"}]  # asked twice, tried once
    assert torch.rand(1) == before
    assert holds(PLAN, [8, 6]) is None


def test_a_gpu_that_is_nearly_full_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    holds, trained = holds_on(monkeypatch, 4)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 2**30 if len(trained) == 1 else 2**29)
    assert holds(PLAN, [4, 2]) == 2


def test_another_mistake_is_left_to_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of a plan that is not made yet: early stopping is planned last."""

    def broken(trial: MemoryTrial, batch: int) -> int | None:
        raise RuntimeError("no kernel image is available for execution on the device")

    early = [*SMALL, "--model.early_stopping_median", "5"]
    assert holds_of("classify", early, OWN_FLAGS, PHANTOMS)(PLAN, [8, 4]) == 8
    monkeypatch.setattr(MemoryTrial, "peak", broken)
    assert holds_of("classify", SMALL, OWN_FLAGS, PHANTOMS)(PLAN, [8, 4]) == 8


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("CUDA error: out of memory", True),
        ("GET was unable to find an engine to execute this computation", True),
        ("CUDA error: device-side assert triggered", False),
    ],
)
def test_a_lack_of_memory_has_many_words(text: str, lacks: bool) -> None:
    assert lacks_memory(RuntimeError(text)) == lacks


@pytest.mark.parametrize(("asked", "first"), [("auto", 1), (2, 1), ("3", 1), ([3, 1], [3]), ("3,", [3]), ("2, 0", [2])])
def test_a_trial_takes_the_first_of_the_devices_that_are_asked_for(asked: Any, first: Any) -> None:
    cli: Any = SimpleNamespace(config={"trainer": {"devices": asked}})
    assert _one_device(cli)["devices"] == first


@pytest.mark.parametrize(
    ("more", "planned"),
    [
        ([], {"data.batch_size": 2, "trainer.accumulate_grad_batches": 2}),
        (["--find_batch_size", "false"], {"data.batch_size": 2, "trainer.accumulate_grad_batches": 2}),
        (["--data.batch_size", "4"], {}),
        (["--memory", "1GiB"], {"data.batch_size": 4}),
        (["--find_batch_size", "true"], {"data.batch_size": 4}),
        (["--scale_lr", "linear"], {"data.batch_size": 4}),
    ],
)
def test_the_plan_of_a_gpu_has_what_fits(
    more: list[str], planned: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "machine_of", lambda *_: Machine("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**30))
    monkeypatch.setattr(MemoryTrial, "peak", lambda _, batch: 2**20 if batch <= 2 else None)
    plan = planner.plan_for("classify", [*SMALL, *more], OWN_FLAGS).plan
    found = {one.flag: one.value for one in plan.planned}
    flags = ("data.batch_size", "trainer.accumulate_grad_batches")
    assert {flag: found[flag] for flag in flags if flag in found} == planned
