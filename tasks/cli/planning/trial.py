"""A trial of some steps: the time and the memory that a training by settled flags takes on this machine."""

from __future__ import annotations

import logging
import math
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.memory import garbage_collection_cuda

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.cli.logs import quiet
from tasks.cli.parser import TaskParser
from tasks.cli.planning.timed import started
from tasks.cli.runs.checkpoints import find_checkpoint
from tasks.cli.training.memory import MemoryTrial, largest_within
from tasks.fitting.callbacks import training_callbacks
from tasks.hardware import place
from tasks.planning.budget import Holds, Timing, Trial
from tasks.planning.draft import Planned
from tasks.planning.plan import FILE, Plan
from tasks.registry.flag import OwnFlags

log = logging.getLogger(__name__)

STEPS = 10  # of a trial, beside the first, which warms up
FEWEST = 1
VALIDATED = 2  # batches
SHARE = 0.05  # of the time, after which a trial ends
FILLED = 0.95  # of the memory of the GPU: a training holds a little more than its first steps
# Of the trainer of a trial, whatever the flags say: nothing ends it sooner or later.
_WHOLE: dict[str, Any] = {
    "max_time": None, "min_epochs": None, "min_steps": None, "limit_train_batches": None, "overfit_batches": 0.0,
    "val_check_interval": None, "profiler": None,
}  # fmt: skip


def trial_of(task: str, argv: Sequence[str], own_flags: OwnFlags, data_class: str, seconds: float) -> Trial:
    """The trial of a training: data and model are built once more, and forgotten.

    Nothing of it is left but what the data class keeps in the cache on disk, which the training finds there: random
    numbers go on from where they were.

    Args:
        task: name of the task.
        argv: flags as typed.
        own_flags: of the verb.
        data_class: import path of the data class.
        seconds: of the whole command; the trial takes a small share of them.

    Returns:
        The trial, which raises a SuiteError where looking at the data took so long that no time is left.
    """

    def measure(planned: Mapping[str, Any]) -> Timing:
        gone = time.monotonic() - started()
        if gone > seconds / 3:
            raise SuiteError(
                f"--time {seconds:g}s: {gone:.0f} s are over now that the data have been looked at, and more will be "
                f"until they have been evaluated: give at least --time {math.ceil(5 * gone)}s"
            )
        with tempfile.TemporaryDirectory() as folder, _random_numbers_kept(), quiet():
            began = time.monotonic()
            cli = _settled(task, argv, own_flags, data_class, planned, Path(folder))
            timing = _measured(cli, folder, SHARE * seconds, began)
        log.info(
            "a trial on this machine: %.2f s a step, %.3f s a validated image, %.0f s before the first step",
            timing.step, timing.sample, timing.start,
        )  # fmt: skip
        return timing

    return measure


def holds_of(task: str, argv: Sequence[str], own_flags: OwnFlags, data_class: str) -> Holds:
    """The largest batch that the memory of the GPU holds: a few steps of each are tried, on one device.

    What a trial has said is not asked twice. Where it ends in anything but a lack of memory the answer is the largest:
    of a plan that is not made yet some flags may still be of no use, and the training tells what is wrong.

    Args:
        task: name of the task.
        argv: flags as typed.
        own_flags: of the verb.
        data_class: import path of the data class.
    """
    known: dict[str, int | None] = {}

    def holds(planned: Mapping[str, Any], batches: Sequence[int]) -> int | None:
        asked = repr((sorted(planned.items()), list(batches)))
        if asked not in known:
            with tempfile.TemporaryDirectory() as folder, _random_numbers_kept(), quiet():
                known[asked] = tried(planned, batches, Path(folder))
            garbage_collection_cuda()  # the training begins with all that is free
        return known[asked]

    def tried(planned: Mapping[str, Any], batches: Sequence[int], folder: Path) -> int | None:
        try:
            cli = _settled(task, argv, own_flags, data_class, planned, folder)
            data, model = cli.build_data_and_model()
            cli.config_init["trainer"]["callbacks"] = None  # the user's own are for the training
            trial = MemoryTrial(cli, data, model, str(folder), **_one_device(cli), **_WHOLE)
            return largest_within(int(FILLED * torch.cuda.mem_get_info()[1]), batches, trial.peak)[0]
        except Exception as error:
            log.debug("no trial of the GPU's memory: %s", error)
            return batches[0]

    return holds


def _one_device(cli: TaskParser) -> dict[str, Any]:
    """The first of the devices that are asked for, for a trainer."""
    asked = cli.config["trainer"]["devices"]
    if isinstance(asked, str) and "," in asked:
        asked = [int(number) for number in asked.split(",") if number.strip()]
    return {"devices": asked[:1] if isinstance(asked, list) and asked else 1, "num_nodes": 1, "strategy": "auto"}


def _settled(
    task: str, argv: Sequence[str], own_flags: OwnFlags, data_class: str, planned: Mapping[str, Any], folder: Path
) -> TaskParser:
    """The flags of a training with what is planned so far; the plan is put into the folder."""
    file = folder / FILE
    values = tuple(Planned(flag, value, "", "") for flag, value in planned.items())
    write_text(file, Plan(data_class, values).to_yaml())
    return TaskParser(task, "fit", argv, own_flags=own_flags, builds_model=True, defaults=file, planned=planned.keys())


def _measured(cli: TaskParser, folder: str, most: float, began: float) -> Timing:
    data, model = cli.build_data_and_model()
    teacher = model.distillation.teacher
    path = None if teacher is None else find_checkpoint(cli.task, teacher, flag="--model.teacher")
    callbacks = training_callbacks(model, 0, path)
    model.prepared = True
    cli.config_init["trainer"]["callbacks"] = None  # the user's own are for the training
    clock = _Clock(most, int(cli.config["trainer"]["accumulate_grad_batches"]))
    settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings |= {"max_epochs": 1, "max_steps": -1}
    settings |= {"limit_val_batches": VALIDATED, "num_sanity_val_steps": 0, "enable_model_summary": False}
    settings |= {"check_val_every_n_epoch": 1, "default_root_dir": folder}
    trainer = cli.build_trainer([*callbacks, clock], **settings, **_one_device(cli), **_WHOLE)
    place(model, cli.config["memory_format"], trainer.strategy.root_device.type)
    trainer.fit(model, datamodule=data)
    data.trainer = None
    before = time.monotonic() - started()  # all that came until now, and what is built once more
    return Timing(clock.step, clock.sample, before + clock.first - began)


class _Clock(Callback):
    """Times steps and validated samples, and ends the trial when there are enough."""

    def __init__(self, most: float, accumulated: int) -> None:
        self.most, self.accumulated = most, accumulated
        self._batches: list[float] = []  # when each was over
        self._validated: list[tuple[float, int]] = []
        self._at = 0.0

    @property
    def first(self) -> float:
        """When the first batch was over."""
        return self._batches[0]

    @property
    def step(self) -> float:
        """Seconds of a step, its loading included."""
        taken = self._batches[-1] - self._batches[0]
        return self.accumulated * (taken / (len(self._batches) - 1) if len(self._batches) > 1 else self._only)

    @property
    def sample(self) -> float:
        """Seconds of a sample in validation; the first batch warms up where there are more."""
        counted = self._validated[1:] or self._validated
        return sum(seconds for seconds, _ in counted) / max(1, sum(cases for _, cases in counted))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first batch begins."""
        self._at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note when it was over, and whether that is enough."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        now = time.monotonic()
        self._batches.append(now)
        if batch_idx == 0:
            self._only = now - self._at
        if batch_idx >= STEPS or (batch_idx >= FEWEST and now - self._batches[0] > self.most):
            trainer.should_stop = True

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A batch of validation is there; what it took to load is in what came before."""
        if batch_idx == 0:
            self._at = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note it, from the end of the one before, so that loading counts."""
        now = time.monotonic()
        self._validated.append((now - self._at, len(batch["image"])))
        self._at = now


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Random numbers go on as if nothing had drawn any."""
    python, numbers = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)
