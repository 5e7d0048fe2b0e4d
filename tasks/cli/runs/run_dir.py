"""The folder of a run: taken once, shared by all ranks, never overwritten."""

from __future__ import annotations

import contextlib
import csv
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from scansuite.errors import SuiteError
from scansuite.files import safe_name, write_text
from tasks.cli.runs.running import CLAIM, claim, holds_something

RUNS = Path("runs")
# A run that trains has this folder from its first moment; one that only evaluates has none.
CHECKPOINTS = "checkpoints"
Mend: TypeAlias = Callable[[Path], str]
_LONGEST = 600  # seconds that other ranks wait for rank 0 to take it: it may look for a learning rate before
# Rank 0 tells the processes it starts.
SHARED = "SCANSUITE_RUN_DIR"
INDEX = ["time", "task", "run_dir", "checkpoint", "cases"]  # columns of index.csv


def global_rank() -> int:
    """The rank that a launcher gave this process, 0 without one."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if (value := os.environ.get(name, "")).isdigit():
            return int(value)
    return 0


def several_processes() -> bool:
    """Whether a launcher has started this process as one of several."""
    return any(int(os.environ.get(name) or 1) > 1 for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"))


def newest_run(task: str) -> Path | None:
    """The training run of a task with the highest number, or None."""
    folders = [folder for folder in (RUNS / task).glob("[0-9]*") if (folder / CHECKPOINTS).is_dir()]
    numbers = [int(folder.name) for folder in folders if folder.name.isdigit()]
    return RUNS / task / str(max(numbers)) if numbers else None


def refuse_existing(asked: str | None) -> None:
    """Stop before any work where ``--run_dir`` names a folder that holds something."""
    if asked is None or global_rank() > 0:
        return
    folder = Path(asked)
    if folder.exists() and not folder.is_dir():
        raise SuiteError(f"--run_dir {folder}: is a file: give another")
    if folder.is_dir() and holds_something(folder):
        raise SuiteError(f"--run_dir {folder}: exists already; give another, or go on in it with --ckpt_path last")


def new_folder(asked: str | None, flag: str) -> Path:
    """Make the folder that a flag names, which must not hold anything, and take it for this command.

    Raises:
        SuiteError: none is named, it holds something, it cannot be made, or another command writes to it.
    """
    if asked is None:
        raise SuiteError(f"{flag}: name a folder for what is written")
    folder = Path(asked)
    if global_rank() > 0:  # rank 0 has made it
        return folder
    if folder.exists() and (not folder.is_dir() or holds_something(folder)):
        raise SuiteError(f"{flag} {folder}: exists already: give a new folder")
    claim(folder, flag, f"run the command again with a new {flag}", fresh=True)
    return folder


def take_run_dir(task: str, asked: str | None, mend: Mend | None = None, *, resumed: bool = False) -> Path:
    """Make the folder of a run, ``runs/<task>/<next number>`` where none is asked for, and take it for this command.

    Rank 0 makes it; other ranks wait for its name (through the environment or, where a launcher started all processes
    side by side, through a file named after the launch).

    Args:
        task: name of the task.
        asked: ``--run_dir``.
        mend: from the folder to what the user does where the command ends before its time; left out: the same again.
        resumed: what the folder holds is gone on with.

    Raises:
        SuiteError: the folder cannot be made, another command writes to it, or rank 0 does not take it within ten
            minutes.
    """
    pointer = launch_file(task)
    if global_rank() > 0:
        shared = os.environ.get(SHARED)
        return Path(shared) if shared else _await(pointer, asked)
    folder = Path(asked) if asked is not None else _next_number(RUNS / task)
    again = "run the command again with a new --run_dir" if mend is None else mend(folder)
    claim(folder, "--run_dir", again, fresh=not resumed, made=asked is None)
    os.environ[SHARED] = str(folder.resolve())
    if pointer is not None and asked is None:  # who is told a folder needs no file that names it
        _make(pointer.parent)
        write_text(pointer, str(folder.resolve()))
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(
            f"--run_dir {folder}: cannot be written ({error.strerror}): choose a folder you may write to"
        ) from None


def _next_number(parent: Path) -> Path:
    _make(parent)
    number = 1 + max((int(entry.name) for entry in parent.iterdir() if entry.name.isdigit()), default=0)
    while True:  # mkdir is atomic: of two runs started at once, one takes the next number
        with contextlib.suppress(FileExistsError):
            (parent / str(number)).mkdir()
            return parent / str(number)
        number += 1


def forget_launch(task: str) -> None:
    """Take away what an earlier launch by the same name left behind, before the ranks of this one look for it."""
    pointer = launch_file(task)
    if global_rank() == 0 and pointer is not None:
        with contextlib.suppress(OSError):
            pointer.unlink()


def launch_file(task: str, kind: str = "launch") -> Path | None:
    """A file that all processes of one external launch can name; None where no launcher has started them.

    Args:
        task: name of the task.
        kind: what it tells.
    """
    launch = [os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")]
    if not launch[0]:
        launch = [
            os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
        ]
    if not launch[0] and int(os.environ.get("WORLD_SIZE") or 1) > 1:  # set by hand, or by an MPI
        launch = [os.environ.get(name, "") for name in ("MASTER_PORT", "MASTER_ADDR")]
    return RUNS / task / f".{kind}-{'-'.join(map(safe_name, launch))}" if launch[0] else None


def _await(pointer: Path | None, asked: str | None) -> Path:
    """The folder once rank 0 has taken it: what another rank wrote there before would be taken for an earlier run."""
    for _ in range(10 * _LONGEST):
        if asked is not None:
            if (Path(asked) / CLAIM).is_file():
                return Path(asked)
        elif pointer is not None and pointer.is_file() and (name := pointer.read_text()):
            return Path(name)
        time.sleep(0.1)
    if asked is not None:
        raise SuiteError(f"--run_dir {asked}: rank 0 did not take it within ten minutes: see what it says")
    raise SuiteError("rank 0 named no run folder within ten minutes: give one with --run_dir")


def count_test(task: str, run_dir: Path, checkpoint: str, cases: int) -> None:
    """Note in ``runs/index.csv``, or in that beside a folder that was named, that a test part was looked at."""
    file = index_of(task, run_dir)
    new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow(INDEX)
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        writer.writerow([now, task, run_dir, checkpoint, cases])


def index_of(task: str, run_dir: Path) -> Path:
    """The ``index.csv`` that lists a run: that of ``runs/`` for a numbered run, else the one beside the run's folder.

    A folder within a run (an ensemble of folds, the parent of a pruned model) is listed with that run. Where a file of
    that name that is no list of runs lies there, it is in the run's folder.
    """
    whole = run_dir
    while (whole.parent / "config.yaml").is_file() or (whole.parent / "fold_0").is_dir():
        whole = whole.parent
    numbered = whole.resolve().parent == (RUNS / task).resolve()
    file = (RUNS if numbered else whole.parent) / "index.csv"
    if not file.exists():
        return file
    with contextlib.suppress(OSError, ValueError), file.open(encoding="utf-8", newline="") as stream:
        if next(csv.reader(stream), None) == INDEX:
            return file
    return run_dir / "index.csv"
