"""Class names: as text, renamed by a map, and checked for names that nobody meant (nan, N/A, -1)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from datamodules.cases.ids import clean_text
from scansuite.errors import SuiteError, nearest

log = logging.getLogger(__name__)

_NEGATIVE = re.compile(r"-[0-9]+(\.[0-9]*)?")
# What programs write for an empty cell. People call classes None, NA or unknown; nobody calls one so.
_EMPTY_WORDS = frozenset({"nan", "-nan", "<na>", "#n/a", "#na", "n/a", "null", "nat"})
_MOST_FRACTIONS = 10
_EXACT = 2.0**53  # whole numbers below it are exact as float64


def class_text(column: pd.Series[Any]) -> pd.Series[str]:
    """Class names as text (:func:`~datamodules.cases.ids.clean_text`): 1.0 is ``1``; empty and blank cells are NA."""
    if pd.api.types.is_float_dtype(column):
        known = column.dropna()
        if bool(((known % 1 == 0) & (known.abs() < _EXACT)).all()):
            column = column.astype("Int64")
    text = column.astype("str").map(clean_text, na_action="ignore").astype("str")
    return text.mask(text == "")


def renamed(names: Iterable[str], class_map: Mapping[str, str]) -> list[str]:
    """Names as ``class_map`` says, in their order; names that become one stand once, at the place of the first."""
    return list(dict.fromkeys(class_map.get(name, name) for name in names))


def clean_map(class_map: Mapping[str, str] | None) -> dict[str, str]:
    """A user's ``class_map`` with clean names."""
    return {clean_text(str(theirs)): clean_text(str(ours)) for theirs, ours in (class_map or {}).items()}


def warn_of_unused(class_map: Mapping[str, str], names: Iterable[str]) -> None:
    """Log a line where ``class_map`` renames what is no class of the data: often a slip of the pen."""
    known = list(names)
    for name in class_map:
        if name not in known:
            log.warning("--data.class_map renames %r, which is no class of the data: %s", name, nearest(name, known))


def refuse_twice(names: Iterable[str], flag: str) -> None:
    """Refuse a list of classes in which one is duplicated: the second would never have a case.

    Raises:
        SuiteError: names the class and the flag.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SuiteError(f"{flag}: class {name!r} is duplicated: name each class once")
        seen.add(name)


def not_meant(name: str) -> str | None:
    """Why a name that nobody has listed as a class is hardly one, or None."""
    if _NEGATIVE.fullmatch(name):
        return "is a negative number, which often stands for unknown"
    if name.casefold() in _EMPTY_WORDS:
        return "is what programs write for an empty cell"
    return None


def refuse_unmeant(names: Iterable[str], where: str, flag: str) -> None:
    """Refuse classes that were found and not listed, where a name is hardly one (:func:`not_meant`).

    Args:
        names: of the classes that were found.
        where: what a message names, with the place of a name where that is known.
        flag: that lists the classes.

    Raises:
        SuiteError: names the first such class.
    """
    for name in names:
        why = not_meant(name)
        if why is not None:
            raise SuiteError(
                f"{where}: label {name!r} {why}: drop what bears it, rename it with --data.class_map, or list it as a "
                f"class in {flag}"
            )


def too_many_fractions(names: Iterable[str]) -> str | None:
    """The first fraction among names of which more than ten are numbers with fractions: measured, not classes."""
    fractions = [name for name in names if _fraction(name)]
    return fractions[0] if len(fractions) > _MOST_FRACTIONS else None


def _fraction(name: str) -> bool:
    try:
        return float(name) % 1 != 0 and "." in name
    except ValueError:
        return False
