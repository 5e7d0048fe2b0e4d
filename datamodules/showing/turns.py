"""Cases that stand for many: classes take turns, so that each is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.evenly import evenly


def take_turns(groups: Sequence[NDArray[np.int64]], count: int) -> list[int]:
    """Members of groups in turn, the first of each before the second of any; none twice.

    Args:
        groups: their members; of more groups than ``count`` some are taken, evenly spaced.
        count: most members to take.
    """
    some = [groups[place] for place in evenly(len(groups), count)]
    taken: dict[int, None] = {}
    for turn in range(max(map(len, some), default=0)):
        for members in some:
            if turn < len(members) and len(taken) < count:
                taken[int(members[turn])] = None
        if len(taken) >= count:
            break
    return list(taken)


def by_class(labels: NDArray[Any], count: int) -> list[NDArray[np.int64]]:
    """Row numbers of each class, of each label and of those without any, or of ranges of numbers.

    Args:
        labels: (N,) class numbers, (N,) numbers, or (N, L) of 0 and 1, NaN = unknown.
        count: of more classes so many are taken, evenly spaced; so many ranges are made of numbers.
    """
    if labels.ndim == 2:
        groups = [np.flatnonzero(column == 1) for column in labels.T]
        return [group for group in (*groups, np.flatnonzero(~(labels == 1).any(axis=1))) if len(group)]
    if labels.dtype.kind == "f":
        return [part for part in np.array_split(np.argsort(labels, kind="stable"), count) if len(part)]
    numbers = np.unique(labels)
    return [np.flatnonzero(labels == numbers[place]) for place in evenly(len(numbers), count)]


def label_words(label: NDArray[Any] | float, names: Sequence[str]) -> str:
    """The target of a case in words: its class, the labels that it has, or its number."""
    value = np.asarray(label)
    if value.ndim:
        present = [name for name, one in zip(names, value.tolist(), strict=True) if one == 1]
        return ", ".join(present) or "none of the labels"
    return f"{names[0] if names else 'target'} {float(value):g}" if value.dtype.kind == "f" else names[int(value)]
