"""The error that a user can mend, and the nearest known word to a mistyped one. Standard library alone."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SuiteError(Exception):
    """An error that the user can mend.

    Its text is one line that says what is wrong, where (file, flag or row) and how to mend it. The command line prints
    that line and exits with status 2; it never shows a traceback for it (except with ``--debug``).

    Args:
        text: the line.
        kind: what is wrong, where code has to tell mistakes apart: a key of ``datamodules.checks.kinds.KINDS``; empty
            where nobody asks.
    """

    def __init__(self, text: str, *, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the known word nearest to a mistyped one, or a list of a few of those there are."""
    names = list(known)
    near = get_close_matches(word, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    shown = ", ".join(names[:20])
    return f"there are {shown}" + (", ..." if len(names) > 20 else "")
