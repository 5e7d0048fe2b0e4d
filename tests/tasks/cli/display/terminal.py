"""A command on a pseudo-terminal, and what a person saw on it."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyte

_CONTEXT = multiprocessing.get_context("forkserver")  # forked with all that a training imports
_CONTEXT.set_forkserver_preload(["tests.tasks.cli.preloaded"])
ROWS = 50


class Session(NamedTuple):
    """What was seen.

    Attributes:
        status: exit status.
        frames: the rows of the screen that were not empty, each time that something changed.
        last: all rows in the end, those that had been scrolled away too.
        cursor: it was visible in the end.
        raw: the bytes.
    """

    status: int
    frames: list[list[str]]
    last: list[str]
    cursor: bool
    raw: bytes

    def bars(self, start: str) -> list[str]:
        """What stood in the last row, where it began so."""
        return [frame[-1] for frame in self.frames if frame and frame[-1].startswith(start)]


class Terminal:
    """A terminal that can be resized and typed at while a command runs.

    Args:
        columns: width in characters.
    """

    def __init__(self, columns: int) -> None:
        self.fd, self._other = pty.openpty()
        self.screen = pyte.HistoryScreen(columns, ROWS, history=5000)
        self.frames: list[list[str]] = []
        self.name = os.ttyname(self._other)
        self.resize(columns)

    def resize(self, columns: int) -> None:
        """Make it so wide."""
        fcntl.ioctl(self._other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self.screen.resize(ROWS, columns)

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.write(self.fd, b"\x03")

    def watch(self, alive: Callable[[], bool], seen: Callable[[Terminal], None], limit: float) -> bytes:
        """Look at it until nobody writes any more; ``seen`` is called after each change."""
        stream, raw, until = pyte.ByteStream(self.screen), b"", time.monotonic() + limit
        while True:
            ended = not alive()
            if select.select([self.fd], [], [], 0 if ended else 0.05)[0]:
                some = os.read(self.fd, 1 << 16)
                raw += some
                stream.feed(some)
                self.frames.append([row.rstrip() for row in self.screen.display if row.strip()])
                seen(self)
            elif ended:
                return raw
            assert time.monotonic() < until, "\n".join(self.frames[-1])

    def rows(self) -> list[str]:
        """All rows, those that were scrolled away too."""
        top = ["".join(row[column].data for column in range(self.screen.columns)) for row in self.screen.history.top]
        return [row.rstrip() for row in [*top, *self.screen.display] if row.strip()]

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._other)


def record(
    folder: Path,
    task: str,
    words: Sequence[object],
    columns: int = 80,
    *,
    seen: Callable[[Terminal], None] = lambda terminal: None,
    environment: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    limit: float = 120,
) -> Session:
    """Run a command on a terminal to its end.

    Args:
        folder: to stand in.
        task: whose command.
        words: verb and flags.
        columns: width of the terminal.
        seen: called after each change.
        environment: further variables.
        encoding: of the terminal.
        limit: seconds after which the test fails.
    """
    terminal = Terminal(columns)
    given = {name: os.environ[name] for name in ("SCANSUITE_CACHE", "SCANSUITE_CONFIG")}
    given |= {"TERM": "xterm-256color", "NO_COLOR": "", "COLUMNS": "", **(environment or {})}
    process = _CONTEXT.Process(
        target=_child, args=(folder, terminal.name, encoding, given, task, [str(word) for word in words])
    )
    process.start()
    try:
        raw = terminal.watch(process.is_alive, seen, limit)
        process.join()
        status = process.exitcode if process.exitcode is not None else -1
        return Session(status, terminal.frames, terminal.rows(), not terminal.screen.cursor.hidden, raw)
    finally:
        process.kill()
        terminal.close()


def _child(folder: Path, name: str, encoding: str, environment: dict[str, str], task: str, words: list[str]) -> None:
    os.setsid()  # whose first terminal is the one that Ctrl-C comes from
    terminal = os.open(name, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(terminal, stream)
    sys.stdout, sys.stderr = (open(fd, "w", buffering=1, encoding=encoding, closefd=False) for fd in (1, 2))  # noqa: SIM115
    os.environ.update({key: value for key, value in environment.items() if value})
    for key in (key for key, value in environment.items() if not value):
        os.environ.pop(key, None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method("fork", force=True)
    os.chdir(folder)
    from tasks.cli import evaluate
    from tasks.cli.main import main
    from tasks.evaluation.charts import run_charts

    vars(evaluate)["store_gallery"] = lambda *_: None
    run_charts.draw_charts = lambda *_: []
    try:
        status = main(task, words)
    except SystemExit as stop:
        status = int(stop.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
