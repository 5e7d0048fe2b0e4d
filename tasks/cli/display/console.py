"""The screen: whether there is one, how much is to be said on it, and what is drawn on it at the moment."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


class Drawn(Protocol):
    """What is drawn at the bottom of the terminal."""

    def hide(self) -> None:
        """Take it away for a while."""

    def draw(self) -> None:
        """Draw it again."""


class _Screen:
    quiet = False
    drawn: tuple[Drawn, ...] = ()  # the last one is seen


def is_quiet() -> bool:
    """Whether errors, warnings and results alone are said (``--quiet``)."""
    return _Screen.quiet


@contextmanager
def quietly(quiet: bool) -> Iterator[None]:
    """Say errors, warnings and results alone while the block runs, where ``quiet``."""
    before, _Screen.quiet = _Screen.quiet, quiet
    try:
        yield
    finally:
        _Screen.quiet = before


def is_live() -> bool:
    """Whether bars may be drawn: standard error is a terminal that can move its cursor, and something may be said."""
    from tasks.cli.runs.run_dir import global_rank

    return (
        not is_quiet()
        and global_rank() == 0
        and sys.stderr.isatty()
        and os.environ.get("TERM", "") not in ("dumb", "unknown")
    )


def console() -> Console:
    """Standard error, in colours unless ``NO_COLOR`` is set."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def open_line(line: Drawn) -> None:
    """Let something be seen at the bottom, in place of what was there."""
    if _Screen.drawn:
        _Screen.drawn[-1].hide()
    _Screen.drawn = (*_Screen.drawn, line)
    line.draw()


def close_line(line: Drawn) -> None:
    """Take something away; what was there before is seen again."""
    seen = bool(_Screen.drawn) and _Screen.drawn[-1] is line
    _Screen.drawn = tuple(one for one in _Screen.drawn if one is not line)
    line.hide()
    if seen and _Screen.drawn:
        _Screen.drawn[-1].draw()


def close_lines() -> None:
    """Take all away, for good: before what is said of how a command ends."""
    drawn, _Screen.drawn = _Screen.drawn, ()
    for line in reversed(drawn):
        line.hide()
