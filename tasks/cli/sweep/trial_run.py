"""A trial as a run of its own: started, followed by its epoch table, stopped where it is not worth going on."""

from __future__ import annotations

import csv
import ctypes
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import NamedTuple

from filelock import FileLock

from scansuite.files import write_text
from tasks.cli.command import command_line, environment
from tasks.cli.runs.running import CLAIM
from tasks.training.stopping.signals import EX_TEMPFAIL

LOG, SECONDS = "log.txt", "seconds.txt"  # beside the trial's folder
_LOOK = 1.0  # seconds between looks at the epoch table
_NOTED = 10.0  # seconds after which it is noted how many a trial has taken
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_INTERRUPTED = (EX_TEMPFAIL, 130, -signal.SIGINT, -signal.SIGTERM)


class Ended(NamedTuple):
    """How a trial ended.

    Attributes:
        status: exit status of its command.
        stopped: it was stopped by its sweep.
        error: its error line; empty where there is none.
    """

    status: int
    stopped: bool
    error: str


def run_trial(
    task: str,
    words: Sequence[str],
    folder: Path,
    metric: str,
    report: Callable[[int, float], bool],
    ending: Event | None = None,
    workers: int = 1,
) -> Ended:
    """Train, and look at each epoch that is validated; how long it takes is noted, for :func:`seconds_of`.

    Args:
        task: name of the task.
        words: verb and flags.
        folder: of the run.
        metric: column of the epoch table.
        report: is told the epoch and the metric of each validation; True: the trial is to be stopped.
        ending: set where the sweep is to end.
        workers: trials that run side by side.

    Raises:
        KeyboardInterrupt: this process was interrupted, or the trial was; it has stopped, with everything saved.
    """
    log, ending = folder.with_name(f"{folder.name}.{LOG}"), ending or Event()
    seen, stopped = 0, False
    begun = log.stat().st_size if log.is_file() else 0
    spent = seconds_of(folder) if folder.is_dir() else 0.0  # else it begins, or begins anew
    began = noted = time.monotonic()
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            command_line(task, words), env=environment(workers), stdout=file, stderr=file, preexec_fn=_with_parent()
        )
        try:
            while process.poll() is None:
                if ending.wait(_LOOK):
                    raise KeyboardInterrupt
                if time.monotonic() - noted >= _NOTED:
                    noted = time.monotonic()
                    _note(folder, spent + noted - began)
                for epoch, value in _validated(folder / "metrics.csv", metric, seen):
                    seen = epoch + 1
                    if report(epoch, value) and not stopped:
                        stopped = True
                        process.send_signal(signal.SIGTERM)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        finally:
            _note(folder, spent + time.monotonic() - began)
    if process.returncode in _INTERRUPTED and not stopped:  # Ctrl-C reaches both; or somebody has ended it
        raise KeyboardInterrupt
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(begun)
        errors = [line.removeprefix("error: ").strip() for line in file if line.startswith("error: ")]
    # A trial that had ended by itself before the signal came has its metrics: it was not stopped.
    return Ended(process.returncode, stopped and process.returncode != 0, errors[-1] if errors else "")


def wait_for(folder: Path) -> None:
    """Wait until nobody writes to a run folder any more.

    The trial of a sweep that was killed is asked to stop when its parent is gone, and still saves its state then.
    """
    claim = folder / CLAIM
    if claim.is_file():
        lock = FileLock(claim, thread_local=False)
        lock.acquire()
        lock.release()


def seconds_of(folder: Path) -> float:
    """Seconds that a trial has taken so far, those before an interruption or a kill included; 0 where it has not begun.

    Its epoch table knows nothing of what comes before and after its epochs, and a fitted head has none.
    """
    try:
        return float(_seconds_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0


def _note(folder: Path, seconds: float) -> None:
    write_text(_seconds_file(folder), f"{seconds:.1f}\n")


def _seconds_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{SECONDS}")


def _validated(table: Path, metric: str, first: int) -> Iterator[tuple[int, float]]:
    """Epochs from ``first`` on that have a value of the metric."""
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                epoch, value = int(row["epoch"]), float(row[metric])
            except (KeyError, TypeError, ValueError):  # no validation, or a line that is being written
                continue
            if epoch >= first and math.isfinite(value):
                yield epoch, value


def _with_parent() -> Callable[[], None] | None:
    """On Linux: a child is asked to stop, with everything saved, where the sweep is killed."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)  # opened here: a child of several threads must not load anything

    def ask() -> None:
        library.prctl(_DIES_WITH_PARENT, signal.SIGTERM)

    return ask
