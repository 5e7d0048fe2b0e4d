"""Checkpoints on the command line: found by their names, and opened."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from tasks import loading
from tasks.cli.runs.run_dir import CHECKPOINTS, newest_run
from tasks.cli.runs.running import command
from tasks.loading import RECORD
from tasks.registry.run_files import BEST, checkpoint_in


def find_checkpoint(task: str, asked: str | None, *, flag: str = "--ckpt_path") -> Path:
    """A checkpoint file; a run folder is its best one, and ``last`` and ``best`` are those of the newest run.

    Raises:
        SuiteError: none was asked for, there is no such file, or the folder is of no run.
    """
    if asked is None:
        raise SuiteError(
            f"{flag}: name a checkpoint or the folder of its run (runs/{task}/<number>), or best of the newest run"
        )
    path = Path(asked)
    if asked in ("last", "best") and not path.is_dir():
        run = newest_run(task)
        if run is None:
            raise SuiteError(f"{flag} {asked}: there is no run below runs/{task}")
        path = run / CHECKPOINTS / f"{asked}.ckpt"
    elif path.is_dir():
        path = _in_folder(path, flag)
    if not path.is_file():
        raise SuiteError(f"{flag} {path}: no such file")
    return path


def _in_folder(folder: Path, flag: str) -> Path:
    """The best checkpoint of the run in a folder."""
    path = Path(checkpoint_in(str(folder)))
    if path.is_file():
        return path
    if (folder / RECORD).is_file():
        raise SuiteError(f"{flag} {folder}: is the folder of an ensemble: give --ckpt_paths {shlex.quote(str(folder))}")
    if (folder / CHECKPOINTS).is_dir():
        raise SuiteError(f"{flag} {folder}: its run has no {BEST} yet: train on, or name another checkpoint of it")
    raise SuiteError(f"{flag} {folder}: is no run folder: there is no {CHECKPOINTS}/{BEST} in it")


def open_checkpoint(path: Path, task: str, *, mend: str | None = None) -> dict[str, Any]:
    """The contents of a checkpoint of this task (:func:`tasks.loading.open_checkpoint`).

    Args:
        path: of the file.
        task: name of the task.
        mend: what to do about a checkpoint of something else; left out: take its backbone.

    Raises:
        SuiteError: the file is damaged, unsafe, or made by something else.
    """
    return loading.open_checkpoint(path, task, mend=mend or _other(task, path))


def _other(task: str, path: Path) -> str:
    """What to do with a checkpoint of something else: no verb but ``fit`` takes a part of it."""
    return f"train one that takes its backbone over: {command(task, 'fit')} --model.weights {shlex.quote(str(path))}"
