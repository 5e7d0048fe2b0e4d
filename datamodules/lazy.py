"""Sequences whose items are made when they are asked for, and not kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """Items made one by one; a subclass says how many there are, and makes each by its number."""

    @abstractmethod
    def _item(self, number: int) -> T:
        """Item number 0..len-1."""

    def _items(self, numbers: range) -> list[T]:
        """Items of a slice; a subclass may have a faster way for many."""
        return [self._item(number) for number in numbers]

    @overload
    def __getitem__(self, number: int) -> T: ...
    @overload
    def __getitem__(self, number: slice) -> list[T]: ...
    def __getitem__(self, number: int | slice) -> T | list[T]:
        """The item of a number, which may count from the end, or those of a slice."""
        numbers = range(len(self))[number]
        return self._items(numbers) if isinstance(numbers, range) else self._item(numbers)
