"""Label values of stored masks -> class numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError

# Class number of pixels that neither train nor are evaluated. Augmentation keeps it, since OpenCV warps it as uint8.
IGNORE = 255
_MOST_CLASSES = 255


@dataclass(frozen=True)
class LabelValues:
    """Classes of an index mask and the values that stand for them.

    Attributes:
        names: (C,) classes in class order; the first is the background.
        values: for each class the stored value, or several.
        ignore: stored values that become :data:`IGNORE`.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    ignore: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_class_names(self.names)
        stored = [value for values in self.values for value in values] + list(self.ignore)
        twice = [value for value in stored if stored.count(value) > 1]
        if twice:
            raise SuiteError(f"--data.classes: label value {twice[0]} is given twice: a value has one meaning")

    @cached_property
    def _table(self) -> tuple[int, NDArray[np.int16]]:
        """Lowest known value, and the class of each value from there; -1 is no class."""
        known = {value: number for number, values in enumerate(self.values) for value in values}
        known |= dict.fromkeys(self.ignore, IGNORE)
        lowest = min(known)
        table = np.full(max(known) - lowest + 1, -1, np.int16)
        for value, number in known.items():
            table[value - lowest] = number
        return lowest, table

    def read(self, array: NDArray[Any], where: str) -> NDArray[np.uint8]:
        """Class numbers of stored values.

        Args:
            array: label values of any shape; floats that are whole numbers will do.
            where: the file, for messages.

        Returns:
            uint8 of the same shape: 0..C-1, or :data:`IGNORE`.

        Raises:
            SuiteError: a value stands for no class.
        """
        lowest, table = self._table
        stored = whole_values(array, where)
        offset = stored - lowest
        outside = (offset < 0) | (offset >= len(table))
        classes = table[np.where(outside, 0, offset)]
        unknown = outside | (classes < 0)
        if unknown.any():
            found = np.unique(stored[unknown])
            shown = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
            raise SuiteError(
                f"{where}: unknown label value {shown} ({int(unknown.sum())} pixels): the classes are "
                f"{self._described()}; name it in --data.classes, or leave it out with --data.ignore_value",
                kind="unknown_value",
            )
        return classes.astype(np.uint8)

    def _described(self) -> str:
        pairs = zip(self.names, self.values, strict=True)
        return ", ".join(f"{name}={'/'.join(map(str, values))}" for name, values in list(pairs)[:20])


def label_values(
    classes: Sequence[str] | Mapping[str, int | Sequence[int]], ignore_value: int | None = None
) -> LabelValues:
    """Classes as a user names them.

    Args:
        classes: names, whose values are then 0, 1, 2, ...; or ``{name: value}``, or ``{name: [values]}``. The first
            (or the one with the value 0) is the background.
        ignore_value: stored value of pixels that neither train nor are evaluated.

    Raises:
        SuiteError: fewer than two classes, a name or a value twice, or a value that is no whole number.
    """
    ignore = () if ignore_value is None else (ignore_value,)
    if not isinstance(classes, Mapping):
        values = [value for value in range(len(classes) + 1) if value not in ignore][: len(classes)]
        return LabelValues(tuple(map(str, classes)), tuple((value,) for value in values), ignore)
    meant: dict[str, tuple[int, ...]] = {}
    for name, value in classes.items():
        several = list(value) if isinstance(value, list | tuple) else [value]
        try:
            meant[str(name)] = tuple(int(str(one)) for one in several)
        except ValueError:
            raise SuiteError(f"--data.classes: {name} is {value!r}, but a label value is a whole number") from None
    names = sorted(meant, key=lambda name: (0 not in meant[name], min(meant[name], default=0)))
    return LabelValues(tuple(names), tuple(meant[name] for name in names), ignore)


def check_class_names(names: Sequence[str], flag: str = "--data.classes") -> None:
    """Refuse too few classes, too many, and a name twice.

    Args:
        names: of the classes.
        flag: that names them, for messages.

    Raises:
        SuiteError: says which.
    """
    if len(names) < 2:
        raise SuiteError(
            f"{flag} {' '.join(names)}: a mask has at least a background and one class: name both, background first"
        )
    if len(names) > _MOST_CLASSES:
        raise SuiteError(f"{flag}: {len(names)} classes; masks hold at most {_MOST_CLASSES}")
    twice = [name for name in names if list(names).count(name) > 1]
    if twice:
        raise SuiteError(f"{flag}: {twice[0]!r} is duplicated")


def whole_values(array: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Label values as integers.

    Raises:
        SuiteError: a value is a fraction, NaN or infinite; names ``where``.
    """
    with np.errstate(invalid="ignore"):
        stored = array.astype(np.int64)
    if array.dtype.kind == "f" and (stored != array).any():
        strange = array[stored != array][0]
        raise SuiteError(
            f"{where}: label value {strange} is no whole number: save the mask as integers", kind="unknown_value"
        )
    return stored
