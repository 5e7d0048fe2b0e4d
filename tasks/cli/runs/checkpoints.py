"""Checkpoints on the command line: found, opened safely, built again into a task, written back whole."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import torch

from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cli.runs.run_dir import CHECKPOINTS, newest_run
from tasks.cli.runs.running import command
from tasks.specs import is_task, spec_of


def find_checkpoint(task: str, asked: str | None, *, flag: str = "--ckpt_path") -> Path:
    """A checkpoint file; ``last`` and ``best`` are those of the newest run.

    Raises:
        SuiteError: none was asked for, or there is no such file.
    """
    if asked is None:
        raise SuiteError(
            f"{flag}: name a checkpoint (runs/{task}/<number>/checkpoints/best.ckpt), or best of the newest run"
        )
    path = Path(asked)
    if asked in ("last", "best"):
        run = newest_run(task)
        if run is None:
            raise SuiteError(f"{flag} {asked}: there is no run below runs/{task}")
        path = run / CHECKPOINTS / f"{asked}.ckpt"
    if not path.is_file():
        raise SuiteError(f"{flag} {path}: no such file")
    return path


def open_checkpoint(path: Path, task: str, *, mend: str | None = None) -> dict[str, Any]:
    """The contents of a checkpoint of this task; pickled code is refused, not run.

    Args:
        path: of the file.
        task: name of the task.
        mend: what to do about a checkpoint of something else; left out: take its backbone.

    Raises:
        SuiteError: the file is damaged, unsafe, or made by something else.
    """
    from pickle import UnpicklingError

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        code = re.search(r"\bGLOBAL (\S+)", str(error))
        what = f" ({code[1][:80]})" if code is not None else ""
        raise SuiteError(
            f"{path}: holds more than weights and plain values{what}, and pickled code is never run: is it one of ours?"
        ) from None
    except Exception as error:  # damaged pickles raise whatever their parts raise
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise SuiteError(f"{path}: cannot be read as a checkpoint: {reason}") from None
    ours = checkpoint.get("scansuite") if isinstance(checkpoint, dict) else None
    made_by = str(ours.get("task")) if isinstance(ours, dict) else ""
    if made_by != task:
        what = f"a checkpoint of the task {made_by!r}" if is_task(made_by) else "no checkpoint of this suite"
        raise SuiteError(f"{path}: is {what}, not of {task!r}: {mend or _other(task, path)}")
    for part in ("hyper_parameters", "state_dict"):
        if not isinstance(checkpoint.get(part), dict):
            raise SuiteError(f"{path}: has no {part}: it is damaged, or was not made by fit")
    return dict(checkpoint)


def _other(task: str, path: Path) -> str:
    """What to do with a checkpoint of something else: no verb but ``fit`` takes a part of it."""
    return f"train one that takes its backbone over: {command(task, 'fit')} --model.weights {shlex.quote(str(path))}"


def build_from(checkpoint: dict[str, Any], task: str, path: Path) -> Task:
    """The task that a checkpoint holds, with its weights.

    Raises:
        SuiteError: there is no such network, or the weights do not fit the one that the checkpoint describes.
    """
    hparams = dict(checkpoint["hyper_parameters"])
    hparams["weights"] = None  # they are in the checkpoint; nothing is downloaded or looked for again
    try:
        model = spec_of(task).task_class()(**hparams)
    except (SuiteError, TypeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise SuiteError(f"{path}: its model cannot be built again ({reason}): was it made by this version?") from error
    model.hparams["weights"] = checkpoint["hyper_parameters"].get("weights")
    load_into(model, checkpoint, path)
    return model


def load_into(model: Task, checkpoint: dict[str, Any], path: Path) -> None:
    """Fill a model of the same layout with everything that a checkpoint holds.

    Raises:
        SuiteError: the weights do not fit.
    """
    try:
        model.on_load_checkpoint(checkpoint)  # first the sizes of pruned layers
        model.load_state_dict(checkpoint["state_dict"])
    except SuiteError as error:
        raise SuiteError(f"{path}: {error}") from None
    except (RuntimeError, AttributeError, KeyError) as error:
        raise SuiteError(f"{path}: the weights do not fit: {' '.join(str(error).split())[:200]}") from None
