"""Differences in words, on screen and page alike."""

from __future__ import annotations

import math

import numpy as np

from tasks.evaluation.drift.differences import Difference

_LONG = 40  # characters of a level


def change(one: Difference) -> str:
    """What changed, in a few words: ``0.31 -> 0.55``, ``B 30 % -> 90 %``."""
    if one.kind == "number":
        return f"{plain(one.reference[0])} -> {plain(one.new[0])}"
    apart = np.abs(np.subtract(one.new, one.reference))
    level = len(apart) - 1 if len(apart) == 2 else int(np.argmax(apart))
    return f"{short(one.levels[level])} {100 * one.reference[level]:.0f} % -> {100 * one.new[level]:.0f} %"


def plain(value: float) -> str:
    """A value of any size with three digits that count."""
    return "unknown" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def short(level: str) -> str:
    """The name of a level, cut where it is long."""
    return level if len(level) <= _LONG else f"{level[: _LONG - 1]}…"
