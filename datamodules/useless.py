"""Flags without effect, which a class takes because related classes do; each class declares its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Arguments that name a table of the user's.
TABLES = ("table", "cases", "split_file", "palette")

# Arguments that choose among the files of a folder.
PATTERNS = ("include", "exclude")


def always(value: object) -> bool:
    """Condition that holds whatever the deciding flag says."""
    return True


@dataclass(frozen=True)
class Useless:
    """A flag that does nothing, always or where another one says so.

    Attributes:
        flag: name of the constructor's argument.
        why: it does nothing; one clause.
        other: argument that decides, or several that decide together; one that a class does not take counts for
            nothing.
        idle: whether the flag does nothing at a value of ``other``; of several, at the value of each.
    """

    flag: str
    why: str
    other: str | tuple[str, ...] | None = None
    idle: Callable[[Any], bool] = always

    @property
    def others(self) -> tuple[str, ...]:
        """The arguments that decide."""
        return (self.other,) if isinstance(self.other, str) else self.other or ()

    def does_nothing(self, values: Mapping[str, Any]) -> bool:
        """Whether the flag does nothing at these values of a class's arguments."""
        return all(self.idle(values[name]) for name in self.others if name in values)


def given(value: object) -> bool:
    """The deciding flag is given."""
    return value is not None


def left_out(value: object) -> bool:
    """The deciding flag is left out."""
    return value is None


def useless_flags(cls: type) -> list[Useless]:
    """Flags without effect that a class and its parents declare in ``useless``."""
    declared = [one for base in cls.__mro__ for one in vars(base).get("useless", ())]
    if getattr(cls, "walks_folder", True):
        return declared
    return [*declared, *(Useless(flag, "its files are listed, and no folder is walked") for flag in PATTERNS)]
