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
from typing import NamedTuple

from tasks.cli.command import command_line, environment

LOG = "log.txt"  # beside the trial's folder
_LOOK = 1.0  # seconds between looks at the epoch table
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of linux/prctl.h


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
    task: str, words: Sequence[str], folder: Path, metric: str, report: Callable[[int, float], bool]
) -> Ended:
    """Train, and look at each epoch that is validated.

    Args:
        task: name of the task.
        words: verb and flags.
        folder: of the run.
        metric: column of the epoch table.
        report: is told the epoch and the metric of each validation; True: the trial is to be stopped.

    Raises:
        KeyboardInterrupt: this process was interrupted; the trial is stopped with everything saved.
    """
    log = folder.with_name(f"{folder.name}.{LOG}")
    seen, stopped = 0, False
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            command_line(task, words), env=environment(), stdout=file, stderr=file, preexec_fn=_die_with_parent
        )
        try:
            while process.poll() is None:
                time.sleep(_LOOK)
                for epoch, value in _validated(folder / "metrics.csv", metric, seen):
                    seen = epoch + 1
                    if report(epoch, value) and not stopped:
                        stopped = True
                        process.send_signal(signal.SIGTERM)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    # A trial that had ended by itself before the signal came has its metrics: it was not stopped.
    return Ended(process.returncode, stopped and process.returncode != 0, errors[-1] if errors else "")


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


def _die_with_parent() -> None:
    """On Linux: be asked to stop, with everything saved, where the sweep is killed; two would write to one folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGTERM)
