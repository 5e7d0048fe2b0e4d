"""The error that a user can mend, and the nearest known word to a mistyped one. Standard library alone."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_KIND = "kind: "


class SuiteError(Exception):
    """An error that the user can mend.

    Its text is one line that says what is wrong, where (file, flag or row) and how to mend it. The command line prints
    that line and exits with status 2; it never shows a traceback for it (except with ``--debug``).

    Text and kind survive pickling, and torch's loader processes, which hand over the class of an error and its
    traceback as text.

    Args:
        text: the line; or what torch makes of it in a loader process, of which line and kind are taken.
        kind: what is wrong, where code has to tell mistakes apart: a key of ``datamodules.checks.kinds.KINDS``; empty
            where nobody asks.
    """

    def __init__(self, text: str, *, kind: str = "") -> None:
        if text.startswith("Caught "):
            text, kind = from_worker(text, type(self).__name__)
        super().__init__(text)
        self.kind = kind
        if kind:
            self.add_note(f"{_KIND}{kind}")  # tracebacks show it


def from_worker(text: str, name: str = "SuiteError") -> tuple[str, str]:
    """The line and the kind of an error that a loader process has wrapped in its traceback.

    Args:
        text: of the error as torch raises it again; another text is its own line.
        name: of the error's class.
    """
    _, marker, said = text.rpartition(f"{name}: ")
    if not text.startswith("Caught ") or not marker:
        return text, ""
    line, *notes = said.splitlines()
    kinds = [note.removeprefix(_KIND) for note in notes if note.startswith(_KIND)]
    return line, kinds[0] if kinds else ""


def nearest_name(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to a mistyped one; None where none is near."""
    return next(iter(get_close_matches(word, list(known), n=1)), None)


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the known word nearest to a mistyped one, or a list of a few of those there are."""
    names = list(known)
    if (near := nearest_name(word, names)) is not None:
        return f"did you mean {near!r}?"
    shown = ", ".join(names[:20])
    return f"there are {shown}" + (", ..." if len(names) > 20 else "")
