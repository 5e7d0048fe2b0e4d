"""A command of the suite in a process of its own: its memory, its seeds and its ranks are those of a single run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from datamodules.settings import usable_cores
from scansuite.errors import SuiteError
from scansuite.own_parts import allowed
from tasks.cli.display.console import is_live, is_quiet
from tasks.cli.runs.last_line import for_child
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
    with leaving_when_terminated():
        command = command_line(task, [*words, *(["--quiet"] if is_quiet() else [])])
        run = on_terminal if is_live() else _relayed
        status, error = run(command, environment(), _interruption(words))
    if status in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    if status == EX_TEMPFAIL:
        raise Stopped(signal.SIGTERM.name)
    if status < 0:
        raise SuiteError(error or f"killed by signal {-status}, as it happens where memory runs out")
    if status != 0:
        raise SuiteError(error or f"ended with status {status}, see above")


def command_line(task: str, words: Sequence[str]) -> list[str]:
    """What starts a command of the suite with this Python."""
    return [sys.executable, "-m", "tasks.cli", task, *words]


def imports_allowed() -> list[str]:
    """The flag that lets another process import what this one may; no checkpoint brings it."""
    names = allowed()
    return ["--allow_import", *names] if names else []


def environment(processes: int = 1) -> dict[str, str]:
    """That of this process, in which these packages are found from any folder.

    Args:
        processes: that run side by side. Each gets its share of the cores as threads, unless ``OMP_NUM_THREADS`` says
            otherwise: with as many threads as cores they wait for each other, and take ten times as long.
    """
    paths = os.pathsep.join([_HOME, *filter(None, [os.environ.get("PYTHONPATH")])])
    threads = {} if processes == 1 else {"OMP_NUM_THREADS": str(max(1, usable_cores() // processes))}
    return {**threads, **os.environ, "PYTHONPATH": paths}


def _relayed(command: Sequence[str], environment: dict[str, str], interruption: signal.Signals) -> tuple[int, str]:
    """Run a command whose stderr is passed on line by line; its exit status, and its error line without "error:"."""
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace")
    with _ending(process, interruption):
        return _relay(process)


def on_terminal(command: Sequence[str], environment: dict[str, str], interruption: signal.Signals) -> tuple[int, str]:
    """Run a command that draws on this terminal itself; its exit status, and its error line without "error:"."""
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(command, env=environment | for_child(writing), pass_fds=(writing,))
        with _ending(process, interruption):
            status = process.wait()
        os.set_blocking(reading, False)  # this end is open for writing too: nobody waits for what may not come
        said = ""
        with suppress(BlockingIOError):
            said = os.read(reading, 1 << 16).decode(errors="replace")
        errors = [line.removeprefix("error: ").strip() for line in said.splitlines() if line.startswith("error: ")]
        return status, errors[-1] if errors else ""
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def _ending(process: subprocess.Popen[Any], interruption: signal.Signals) -> Iterator[None]:
    """End the process where the block ends by an exception, as it ends when it is interrupted by itself."""
    try:
        yield
    except BaseException:
        process.send_signal(interruption)
        process.wait()
        raise


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


@contextmanager
def leaving_when_terminated() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, by an exception, so that what it has started is stopped too."""
    before = signal.getsignal(signal.SIGTERM)
    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> None:
    """End by a signal as Python ends by Ctrl-C: by an exception, which what is open can act upon."""
    raise SystemExit(128 + number)
