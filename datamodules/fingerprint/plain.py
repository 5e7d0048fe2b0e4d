"""Values in plain types whose words are the same in every process, and differ where the values do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cached_property
from pathlib import PurePath
from re import Pattern
from typing import Any

import numpy as np
import pandas as pd

_ATOMS = (str, bytes, int, float, complex, type(None))  # bool is an int


class NotPlainError(ValueError):
    """A value of which it is not known what tells it from another one."""


def in_plain_words(value: Any) -> str:
    """A value in words by which it can be told from others, whatever the process.

    Args:
        value: of plain types, paths, enumerations, patterns, arrays, data frames, dataclasses and named tuples, and
            lists, tuples, sets and dictionaries of these, however deep and long.

    Raises:
        NotPlainError: there is an object of another kind in it.
    """
    try:
        return _words(value)
    except RecursionError:
        raise NotPlainError(f"{type(value).__qualname__} holds itself") from None


def _words(value: Any) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, Enum):
        return f"{kind}.{value.name}"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{kind}({_several(_parts_of(value))})"
    if type(value) is np.ndarray and value.dtype.kind not in "OV":  # a masked one has more to it
        digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).hexdigest()
        return f"{kind}({value.dtype.str} {value.shape} {digest})"
    if isinstance(value, np.generic):
        return f"{kind}({_words(value.item())})"
    if isinstance(value, pd.DataFrame):
        columns = (one for name in value for one in (name, value[name].tolist()))
        return f"{kind}({_several(columns)} {_words(value.index.tolist())})"
    if isinstance(value, Pattern):
        return f"{kind}({_several((value.pattern, value.flags))})"
    if isinstance(value, PurePath):
        return f"{kind}({str(value)!r})"
    if getattr(value, "__dict__", None):  # a class derived from a plain one, with more to it
        raise NotPlainError(kind)
    if isinstance(value, _ATOMS):
        return repr(value) if type(value) in (*_ATOMS, bool) else f"{kind}({value!r})"
    if isinstance(value, dict):
        return f"{kind}({_several(one for pair in value.items() for one in pair)})"
    if isinstance(value, (list, tuple)):
        return f"{kind}({_several(value)})"
    if isinstance(value, (set, frozenset)):
        return f"{kind}({', '.join(sorted(map(_words, value)))})"
    raise NotPlainError(kind)


def _parts_of(value: Any) -> Iterator[Any]:
    """Names and values of the fields of a dataclass; what it computes from them when asked for it may be there too."""
    named = {field.name for field in fields(value)}
    for name in getattr(value, "__dict__", ()):
        if name not in named and not isinstance(getattr(type(value), name, None), cached_property):
            raise NotPlainError(f"{type(value).__qualname__}.{name}")
    yield from (one for field in fields(value) for one in (field.name, getattr(value, field.name)))


def _several(values: Iterable[Any]) -> str:
    return ", ".join(map(_words, values))
