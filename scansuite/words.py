"""Counts in words, for all lines that people read."""

from __future__ import annotations


def number_of(count: int, thing: str) -> str:
    """A count with what is counted, in singular or plural: ``1 case``, ``3 cases``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
