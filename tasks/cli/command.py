"""A command of the suite in a process of its own: its memory, its seeds and its ranks are those of a single run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from scansuite.errors import SuiteError
from tasks.training.stopping.signals import EX_TEMPFAIL, Stopped

# Where the packages lie: they need not be installed, and the user may stand in another folder.
_HOME = str(Path(__file__).resolve().parents[2])


def run_command(task: str, words: Sequence[str]) -> None:
    """Run ``scansuite <task> <words>`` to its end; what it says goes to this process's stdout and stderr.

    Where this process is interrupted or terminated the command is too: it must not go on beside one that takes its run
    up again.

    Args:
        task: name of the task.
        words: verb and flags.

    Raises:
        SuiteError: it failed; with its error line.
        KeyboardInterrupt: it was interrupted, or this process was.
        Stopped: a signal has ended it with everything saved.
    """
    sys.stdout.flush()
    paths = os.pathsep.join([_HOME, *filter(None, [os.environ.get("PYTHONPATH")])])
    before = signal.getsignal(signal.SIGTERM)
    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.cli", task, *words],
            env={**os.environ, "PYTHONPATH": paths},
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            status, error = _relay(process)
        except BaseException:  # the command ends as it does when it is interrupted by itself
            process.send_signal(_interruption(words))
            process.wait()
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if status in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    if status == EX_TEMPFAIL:
        raise Stopped(signal.SIGTERM.name)
    if status < 0:
        raise SuiteError(error or f"killed by signal {-status}, as it happens where memory runs out")
    if status != 0:
        raise SuiteError(error or f"ended with status {status}, see above")


def _relay(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Pass on what a process says on stderr until it ends; its exit status, and its error line without "error:"."""
    assert process.stderr is not None
    error = ""
    for line in process.stderr:
        if line.startswith("error: "):
            error = line.removeprefix("error: ").strip()  # said by who called, with more
        elif line.startswith(("interrupted: ", "interrupted after ", "stopped by SIG")):
            pass  # likewise
        else:
            sys.stderr.write(line)
    return process.wait(), error


def _interruption(words: Sequence[str]) -> signal.Signals:
    """What ends a child. A shell's background jobs ignore Ctrl-C, and their children with them.

    Of a training a second Ctrl-C, after that of the terminal, would end it at once, without saving.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    return signal.SIGTERM if ignored or words[0] == "fit" else signal.SIGINT


def _leave(number: int, frame: FrameType | None) -> None:
    """End by a signal as Python ends by Ctrl-C: by an exception, which what is open can act upon."""
    raise SystemExit(128 + number)
