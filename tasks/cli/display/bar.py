"""A line that shows how far something is, drawn anew in its place on a terminal, and said now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from scansuite.words import clock
from tasks.cli.display.console import close_line, console, is_live, is_quiet, open_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

    from scansuite.progress import Tell

log = logging.getLogger(__name__)

_SAY_EVERY = 30.0  # seconds, in a log file
_SHOWN_AFTER = 0.3  # seconds: what is done sooner needs no bar
_REDRAWN = 0.1  # seconds from one drawing to the next, at least
_LEAST_BAR, _LARGEST_BAR = 6, 40  # characters
_MARGIN = 2  # between the parts of a line


class Part(NamedTuple):
    """A part of a line.

    Attributes:
        text: what it says.
        worth: parts of least worth are left out first where there is no room.
    """

    text: str
    worth: int = 0


class Line(NamedTuple):
    """What the line says.

    Attributes:
        lead: in front of the bar.
        share: done, 0 to 1; None: not known.
        parts: behind the bar, in this order.
    """

    lead: str
    share: float | None
    parts: Sequence[Part]


class BarLine:
    """A :class:`Line` as rich draws it, in one line of any terminal.

    Args:
        state: says what it shows now.
    """

    def __init__(self, state: Callable[[], Line]) -> None:
        self._state = state

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        lead, share, parts = self._state()
        texts, bar = fitting(options.max_width, lead, parts)
        grid = Table.grid(padding=(0, _MARGIN, 0, 0))
        cells: list[ProgressBar | Text] = [Text(lead, no_wrap=True)]
        if bar:
            cells.append(ProgressBar(total=None if share is None else 1.0, completed=share or 0.0, width=bar))
        cells += [Text(text, no_wrap=True) for text in texts]
        for _ in cells:
            grid.add_column(no_wrap=True)
        grid.add_row(*cells)
        yield grid


def fitting(width: int, lead: str, parts: Sequence[Part]) -> tuple[list[str], int]:
    """The parts that a line has room for, and how long its bar is (0: none)."""
    kept = list(parts)

    def room() -> int:
        return width - len(lead) - sum(_MARGIN + len(part.text) for part in kept) - _MARGIN

    while kept and room() < 0:
        kept.remove(min(kept, key=lambda part: part.worth))
    bar = room() - _MARGIN
    return [part.text for part in kept], min(bar, _LARGEST_BAR) if bar >= _LEAST_BAR else 0


class LiveLine:
    """A line at the bottom of the terminal; what is printed meanwhile goes above it.

    It is drawn by who calls, never by a thread: processes are forked and signals come while it stands. The cursor stays
    visible: a process that is killed leaves a terminal that can be used. Where there is no terminal, a plain line is
    said now and then.

    Args:
        state: says what it shows now.
        every: seconds from one plain line to the next.
    """

    def __init__(self, state: Callable[[], Line], every: float = _SAY_EVERY) -> None:
        self._state, self._every = state, every
        self._live: Live | None = None
        self._open = False
        self._drawn = 0.0
        self._said = time.monotonic()

    def start(self) -> None:
        """Draw it, where there is a terminal; nothing where it is drawn already."""
        if not self._open and is_live():
            self._open = True
            open_line(self)

    def wait(self) -> None:
        """Say no plain line before some seconds have passed from now on."""
        self._said = time.monotonic()

    def redraw(self) -> None:
        """Draw it anew where it stands, unless that was a moment ago."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn >= _REDRAWN:
            self._drawn = now
            with suppress(OSError):  # the terminal may be closed while a training goes on
                self._live.refresh()

    def update(self) -> None:
        """Draw it anew, or say it where there is no terminal, unless that was a moment ago."""
        self.redraw()
        now = time.monotonic()
        if not self._open and now - self._said >= self._every and not is_quiet() and not is_live():
            self._said = now
            lead, _, parts = self._state()
            log.info("%s", "  ".join((lead, *(part.text for part in parts))))

    def stop(self) -> None:
        """Take it away."""
        if self._open:
            self._open = False
            close_line(self)

    def draw(self) -> None:
        """Draw it at the bottom."""
        from rich.live import Live

        line, screen = BarLine(self._state), console()
        # A standard output that goes elsewhere stays what it is.
        self._live = Live(
            console=screen,
            get_renderable=lambda: line,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start(refresh=True)
        screen.show_cursor(True)

    def hide(self) -> None:
        """Take it away for a while."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.stop()


@contextmanager
def shown(doing: str, unit: str, total: int | None) -> Iterator[Tell]:
    """How far something is: a bar on a terminal, a plain line each half a minute elsewhere.

    Args:
        doing: what is done.
        unit: what is counted.
        total: how many there are.
    """
    counter = _Counter(doing, unit, total)
    try:
        yield counter.tell
    finally:
        counter.bar.stop()


class _Counter:
    def __init__(self, doing: str, unit: str, total: int | None) -> None:
        self.doing, self.unit, self.total, self.done = doing, unit, total, 0
        self._began = time.monotonic()
        self.bar = LiveLine(self.line)

    def tell(self, done: int, total: int | None = None) -> None:
        self.done, self.total = done, self.total if total is None else total
        if time.monotonic() - self._began >= _SHOWN_AFTER:
            self.bar.start()
            self.bar.update()

    def line(self) -> Line:
        parts = [Part(f"{self.done}{'' if self.total is None else f'/{self.total}'} {self.unit}", 1)]
        if self.total is None or not self.total:
            return Line(self.doing, None, parts)
        if 0 < self.done < self.total:
            passed = time.monotonic() - self._began
            parts.append(Part(f"{clock(passed * (self.total - self.done) / self.done)} left"))
        return Line(self.doing, self.done / self.total, parts)
