"""The processes of one command: where each prints, and how all of them end when one does."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from tasks.cli.display.console import close_lines
from tasks.cli.logs import OURS
from tasks.cli.runs.last_line import tell_caller
from tasks.cli.runs.run_dir import global_rank, several_processes
from tasks.training.stopping.signals import EX_TEMPFAIL

LOGS = "logs"
LOOK = 0.2  # seconds from one look at the processes to the next
# What a process says of a connection to one that has ended: gloo, NCCL, and the store that all of them share.
_LOST = (
    "Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed", "remote process exited",
    "Connection refused", "Failed to recv", "Application timeout",
)  # fmt: skip


class Here:
    """This process: its file, the terminal that it had before, and the processes that it has started."""

    file: Path | None = None
    terminal: TextIO | None = None
    started: tuple[subprocess.Popen[Any], ...] = ()
    over: bool = False  # the started processes were killed


def separate_output(run_dir: Path) -> None:
    """Let what ranks but the first print go to ``logs/rank_<n>.log`` of the run folder; errors go to both."""
    rank = global_rank()
    if rank == 0 or Here.file is not None:
        return
    folder = run_dir / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    Here.file = folder / f"rank_{rank}.log"
    Here.terminal = os.fdopen(os.dup(2), "w", buffering=1)
    sys.stdout.flush()
    sys.stderr.flush()
    with Here.file.open("a", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def name_rank(line: str) -> str:
    """The line of an error, with the rank that it is of where there are several."""
    return f"rank {global_rank()}: {line}" if _several() else line


def say_error(line: str) -> None:
    """Print an error line on stderr, and on the terminal where stderr is a file."""
    close_lines()
    text = f"error: {' '.join(line.split())}"
    if not tell_caller(text):
        print(text, file=sys.stderr)
    if Here.terminal is not None:
        print(text, file=Here.terminal)


def say_unknown(error: BaseException) -> None:
    """Name the rank of an error with a traceback, which is in its file, on the terminal."""
    if Here.terminal is not None and Here.file is not None:
        said = " ".join(str(error).split())[:200]
        print(f"error: rank {global_rank()}: {type(error).__name__}: {said} ({Here.file})", file=Here.terminal)


def lost(error: BaseException) -> str | None:
    """A line for an error that says no more than that another process has ended; None for any other."""
    if not (_several() and isinstance(error, RuntimeError) and any(text in str(error) for text in _LOST)):
        return None
    one = failed(wait=2.0)
    which = "another rank" if one is None else f"rank {one[0]} ({ending(one[1])})"
    return f"{which} ended before its time, and this one with it: see its own line above, or {LOGS}/rank_<n>.log"


def end_others() -> None:
    """Kill the processes that this one has started: they may wait for it in the middle of a sum, deaf to all else."""
    Here.over = True
    for process in Here.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)


def failed(wait: float = 0.0) -> tuple[int, int] | None:
    """Rank and exit status of the first started process that failed by itself."""
    until = time.monotonic() + wait
    while True:
        for number, process in enumerate(Here.started, start=1):
            status = process.poll()
            if status not in (None, 0, EX_TEMPFAIL, -signal.SIGKILL):
                return global_rank() + number, int(status or 0)
        if time.monotonic() >= until:
            break
        time.sleep(LOOK / 4)
    killed = [number for number, process in enumerate(Here.started, start=1) if process.poll() == -signal.SIGKILL]
    return (global_rank() + killed[0], -int(signal.SIGKILL)) if killed else None


def ending(status: int) -> str:
    """How a process ended, in words."""
    return f"exit status {status}" if status > 0 else f"killed by signal {-status}"


def _several() -> bool:
    return several_processes() or bool(Here.started) or Here.file is not None
