"""Faults in the data: they stop training; a check notes each of them and goes on without what is concerned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from scansuite.errors import SuiteError


@dataclass(frozen=True)
class Fault:
    """One mistake.

    Attributes:
        kind: a key of :data:`datamodules.checks.kinds.KINDS`, or a word of a data class's own.
        text: what is wrong and how to mend it, one line.
        path: the file concerned, where it is one.
        case: row of the case table, -1 where it is not known or not one.
    """

    kind: str
    text: str
    path: str = ""
    case: int = -1


_note: ContextVar[Callable[[Fault], None] | None] = ContextVar("note", default=None)


@contextmanager
def collecting(note: Callable[[Fault], None]) -> Iterator[None]:
    """Within, mistakes go to ``note`` instead of stopping what reads the data."""
    token = _note.set(note)
    try:
        yield
    finally:
        _note.reset(token)


def is_collecting() -> bool:
    """Whether a check is going on."""
    return _note.get() is not None


def report_fault(
    kind: str,
    text: str,
    paths: Iterable[str] | None = None,
    detail: str | None = None,
    *,
    cases: Iterable[int] | None = None,
) -> None:
    """Stop because of a mistake that may concern many files; a check notes each and goes on.

    The caller then leaves out what is concerned.

    Args:
        kind: see :class:`Fault`.
        text: the error's line.
        paths: the files it concerns, where they are no rows of the case table (any more).
        detail: what a check says of each; left out: ``text``.
        cases: the rows of the case table that it concerns.

    Raises:
        SuiteError: no check is going on.
    """
    note = _note.get()
    if note is None:
        raise SuiteError(text, kind=kind)
    said = text if detail is None else detail
    if cases is not None:
        for case in cases:
            note(Fault(kind, said, case=int(case)))
        return
    for path in [""] if paths is None else paths:
        note(Fault(kind, said, str(path)))


def note_of_check(kind: str, text: str, path: str = "", case: int = -1) -> None:
    """Tell a check, if one is going on, of what training passes over."""
    note = _note.get()
    if note is not None:
        note(Fault(kind, text, path, case))


@contextmanager
def tolerated(kind: str, path: object = "", case: int = -1) -> Iterator[None]:
    """A check notes the mistake that is met within and goes on behind; otherwise nothing changes."""
    note = _note.get()
    try:
        yield
    except SuiteError as error:
        if note is None:
            raise
        note(Fault(kind, str(error), str(path), case))
