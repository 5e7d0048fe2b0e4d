"""A flag of a verb's own, as the command line shows and parses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Flag(NamedTuple):
    """A flag of a verb's own.

    Attributes:
        help: what it means, without its default and what may be typed for it: help adds them. Where the default is
            None the text says what "left out:" means.
        kind: type of its value.
        default: where it is left out.
        several: it takes several words.
        needed: the verb does nothing without it.
        stands_for: the value that counts where it is left out, where code has to tell whether it was.
    """

    help: str
    kind: Any = str | None
    default: Any = None
    several: bool = False
    needed: bool = False
    stands_for: Any = None


# A text alone is a flag that takes a text.
OwnFlags = Mapping[str, "str | Flag"]
