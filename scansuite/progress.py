"""How far something long is: said by whoever does it, shown by whoever listens, if anybody does.

Readers and caches know how many files there are; only the command line knows whether there is a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol


class Tell(Protocol):
    """Takes how far something is."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say it.

        Args:
            done: so many.
            total: of so many, where that is known by now.
        """


Show = Callable[[str, str, int | None], AbstractContextManager[Tell]]
_SHOW: ContextVar[Show | None] = ContextVar("show", default=None)


@contextmanager
def progress(doing: str, unit: str, total: int | None = None) -> Iterator[Tell]:
    """Show how far something is while the block runs.

    Args:
        doing: ``reading``, ``checking``: what is done.
        unit: ``files``, ``cases``: what is counted.
        total: how many there are; None: not known yet.

    Yields:
        What takes how many are done; it does nothing where nobody listens.
    """
    show = _SHOW.get()
    if show is None:
        yield _say_nothing
        return
    with show(doing, unit, total) as tell:
        yield tell


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Let what is said within the block be shown.

    Args:
        show: opens a display for what is done, with its unit and total.
    """
    token = _SHOW.set(show)
    try:
        yield
    finally:
        _SHOW.reset(token)


def _say_nothing(done: int, total: int | None = None) -> None:
    pass
