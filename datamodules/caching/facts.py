"""Facts as text and back with their types: tuples, arrays and numbers of numpy, which JSON does not tell apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

_TAG = "\0"  # key of what JSON has no type for; no reader gives a fact such a name


def to_text(facts: Mapping[str, Any]) -> str:
    """JSON of facts; floats keep all their digits, NaN and infinity too.

    pickle would do it for anything, and a file in a shared folder could then run code.

    Args:
        facts: of None, truth values, numbers, text, lists, tuples, dictionaries, arrays of numbers, numpy's numbers.

    Raises:
        TypeError: something else is among them.
    """
    return json.dumps(_plain(dict(facts)), separators=(",", ":"))


def from_text(text: str) -> dict[str, Any]:
    """Read back what :func:`to_text` wrote.

    Raises:
        ValueError: it did not write this.
    """
    facts = _typed(json.loads(text))
    if not isinstance(facts, dict):
        raise ValueError("no facts")
    return facts


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_plain(one) for one in value]
    if type(value) is tuple:
        return {_TAG: "tuple", "of": [_plain(one) for one in value]}
    if type(value) is dict and all(type(name) is str for name in value):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "buif":
        kind = "array" if isinstance(value, np.ndarray) else "number"
        return {_TAG: kind, "type": value.dtype.str, "shape": list(value.shape), "of": value.ravel().tolist()}
    raise TypeError(f"{type(value).__name__} cannot be kept as text")


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TAG)
    if kind is None:
        return {name: _typed(one) for name, one in value.items()}
    if kind == "tuple":
        return tuple(_typed(one) for one in value["of"])
    array = np.array(value["of"], np.dtype(value["type"])).reshape(value["shape"])
    return array if kind == "array" else array[()]
