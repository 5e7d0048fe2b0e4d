"""Flags without effect, which a class takes because related classes do; each class declares its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def always(value: object) -> bool:
    """Condition that holds whatever the deciding flag says."""
    return True


@dataclass(frozen=True)
class Useless:
    """A flag that does nothing, always or where another one says so.

    Attributes:
        flag: name of the constructor's argument.
        why: it does nothing; one clause.
        other: argument that decides.
        idle: whether the flag does nothing at a value of ``other``.
    """

    flag: str
    why: str
    other: str | None = None
    idle: Callable[[Any], bool] = always


def given(value: object) -> bool:
    """The deciding flag is given."""
    return value is not None


def left_out(value: object) -> bool:
    """The deciding flag is left out."""
    return value is None


def useless_flags(cls: type) -> list[Useless]:
    """Flags without effect that a class and its parents declare in ``useless``."""
    return [one for base in cls.__mro__ for one in vars(base).get("useless", ())]
