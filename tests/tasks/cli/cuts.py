"""Runs that are cut off through the command line after a checkpoint, in this process, and what came of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from tasks.cli.main import main
from tasks.training.stopping.mid_epoch import MidEpoch
from tasks.training.stopping.signals import SIGNALS


class Killed(BaseException):
    """Nothing in the suite catches it."""


@contextmanager
def cut_after(epochs: int) -> Iterator[None]:
    """End the process' run, as a kill would, once ``last.ckpt`` of so many epochs is written."""
    on_train_epoch_end = ModelCheckpoint.on_train_epoch_end

    def then_killed(self: ModelCheckpoint, trainer: Trainer, pl_module: LightningModule) -> None:
        on_train_epoch_end(self, trainer, pl_module)
        if self.filename == "last" and trainer.current_epoch + 1 == epochs:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelCheckpoint, "on_train_epoch_end", then_killed)
        yield


@contextmanager
def signalled(hook: str, calls: int, number: signal.Signals = signal.SIGUSR1) -> Iterator[None]:
    """Get a signal within a run, when a hook of the callback that saves in mid-epoch was called so many times."""
    before, count = getattr(MidEpoch, hook), 0

    def then_signalled(self: MidEpoch, *args: Any) -> None:
        nonlocal count
        before(self, *args)
        count += 1
        if count == calls:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MidEpoch, hook, then_signalled)
        yield


def fit(task: str, run_dir: Path, *flags: object) -> None:
    """``fit``, the test part left alone."""
    words = ["fit", *(str(flag) for flag in flags), "--run_dir", str(run_dir), "--judge_test", "false"]
    assert main(task, words) == 0


def fit_cut_and_resumed(task: str, run_dir: Path, *flags: object, after: int = 2) -> None:
    """The same, killed after so many epochs and gone on with, from generators that stand anywhere."""
    with cut_after(after), pytest.raises(Killed):
        fit(task, run_dir, *flags)
    torch.manual_seed(99)
    fit(task, run_dir, *flags, "--ckpt_path", "last")


def fit_stopped(task: str, run_dir: Path, *flags: object) -> None:
    """``fit`` that a signal ends with everything saved."""
    words = ["fit", *(str(flag) for flag in flags), "--run_dir", str(run_dir), "--judge_test", "false"]
    handlers = [signal.getsignal(number) for number in SIGNALS]
    assert main(task, words) == 75
    assert [signal.getsignal(number) for number in SIGNALS] == handlers  # a notebook goes on
    torch.manual_seed(99)  # another process stands anywhere


def assert_same(first: Any, second: Any, what: str) -> None:
    """Plain values and tensors within each other are equal, bit for bit."""
    assert type(first) is type(second), what
    if isinstance(first, dict):
        assert first.keys() == second.keys(), what
        for key in first:
            assert_same(first[key], second[key], f"{what} {key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), what
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{what} {number}")
    elif isinstance(first, torch.Tensor):
        torch.testing.assert_close(second, first, rtol=0, atol=0, equal_nan=True, msg=what)
    else:
        assert first == second or first != first, what


def assert_equal(whole: Path, other: Path) -> None:
    """Every metric of every epoch and all weights are those of the run that went through, bit for bit."""
    first, second = (pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (whole, other))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    for name in ("last.ckpt", "best.ckpt"):
        saved = [torch.load(folder / "checkpoints" / name, weights_only=True) for folder in (whole, other)]
        assert (saved[0]["epoch"], saved[0]["global_step"]) == (saved[1]["epoch"], saved[1]["global_step"]), name
        for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers"):
            assert_same(saved[0].get(part), saved[1].get(part), f"{name} {part}")


def assert_alike(whole: Path, other: Path) -> None:
    """Every metric of every epoch, and the weights of both checkpoints, are those of the run that went through."""
    first, second = (pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (whole, other))
    pd.testing.assert_frame_equal(first, second, rtol=1e-5, atol=1e-6, check_dtype=False)
    for name in ("last.ckpt", "best.ckpt"):
        saved: list[dict[str, Any]] = [
            torch.load(folder / "checkpoints" / name, weights_only=True) for folder in (whole, other)
        ]
        assert (saved[0]["epoch"], saved[0]["global_step"]) == (saved[1]["epoch"], saved[1]["global_step"]), name
        for part in ("state_dict", "current_model_state"):  # of an average: it, and the weights that train
            states = [checkpoint.get(part, {}) for checkpoint in saved]
            assert states[0].keys() == states[1].keys()
            for key, tensor in states[0].items():
                torch.testing.assert_close(states[1][key], tensor, rtol=1e-4, atol=1e-5, msg=f"{name} {part} {key}")
