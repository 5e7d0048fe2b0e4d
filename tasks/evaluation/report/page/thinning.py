"""Fewer points of a line or a cloud, which look the same: a table may have a million rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.report.content import FloatArray

_CELL = 0.5  # units of the plot, the finest that is told apart
_COARSER = 1.5
_FEW = 60  # points of a line of which none is left out
_ROUNDS, _SEEN, _SPACING = 5, 0.06, 4.0  # a bend that is seen, and how far apart the points of a straight piece may be


def thin_line(x: FloatArray, y: FloatArray, most: int, ends: Sequence[FloatArray] = ()) -> NDArray[np.intp]:
    """Numbers of the points of a line that are drawn, in their order.

    Of the points that follow one another within a cell of the plot the first and the last stay; where these are still
    too many, of those within a column the first, the last, the lowest and the highest. Gaps (NaN) stay gaps. Of these,
    points close to one another that lie on a straight line are left out.

    Args:
        x: ``(m,)`` places in the plot.
        y: ``(m,)`` likewise.
        most: points, about; the ends of the line and its extremes are among them.
        ends: places of the ends of its band, ``(m,)`` each.
    """
    if len(x) <= _FEW:
        return np.arange(len(x))
    column, row = _cells(x, _CELL), _cells(y, _CELL)
    kept = _ends((column[1:] != column[:-1]) | (row[1:] != row[:-1]))
    size = _CELL
    while len(kept) > most and size < 1e3:
        column = _cells(x, size)
        kept = _columns(column, y)
        size *= _COARSER
    if len(kept) > most:  # to and fro in each column
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, most).round().astype(np.intp))]
    kept = np.union1d(kept, [0, len(x) - 1, *_extremes(y)]).astype(np.intp)
    for _ in range(_ROUNDS):
        kept = _without_straight(kept, x, np.stack([y, *ends]))
    return kept


def thin_dots(x: FloatArray, y: FloatArray, most: int) -> NDArray[np.intp]:
    """Numbers of the dots that are drawn: one a cell of the plot, so that outliers and the outline stay.

    Args:
        x: ``(m,)`` places in the plot; dots without a place are left out.
        y: ``(m,)`` likewise.
        most: dots.
    """
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(there) <= most:
        return there
    size, kept = _CELL, there
    while len(kept) > most:
        keys = _cells(x[kept], size) * 1_000_003 + _cells(y[kept], size)
        kept = kept[np.sort(np.unique(keys, return_index=True)[1])]
        size *= _COARSER
    return kept


def evenly(count: int, most: int) -> NDArray[np.intp]:
    """Numbers of so many of a count of things, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.intp))


def _without_straight(kept: NDArray[np.intp], x: FloatArray, heights: FloatArray) -> NDArray[np.intp]:
    """Every other point stays, and of the others those between which and their neighbours the line is seen to bend."""
    middle = np.arange(1, len(kept) - 1, 2)
    before, at, behind = kept[middle - 1], kept[middle], kept[middle + 1]
    across, up = x[behind] - x[before], heights[:, behind] - heights[:, before]
    with np.errstate(all="ignore"):
        # Along the longer side of the chord, so that upright pieces count too.
        off_y = np.abs(heights[:, before] + up * (x[at] - x[before]) / across - heights[:, at])
        off_x = np.abs(x[before] + across * (heights[:, at] - heights[:, before]) / up - x[at])
        off = np.where(np.abs(up) > np.abs(across), off_x, off_y)
        far = np.hypot(across, up)
    straight = np.isfinite(off) & (off < _SEEN) & (far < _SPACING)
    same = (far == 0) & (x[at] == x[before]) & (heights[:, at] == heights[:, before])
    return np.delete(kept, middle[(straight | same).all(0)])


def _cells(places: FloatArray, size: float) -> NDArray[np.int64]:
    return np.where(np.isfinite(places), np.floor(np.nan_to_num(places) / size), -(1 << 40)).astype(np.int64)


def _ends(changes: NDArray[np.bool_]) -> NDArray[np.intp]:
    """First and last of each run, by where a run ends."""
    last = np.flatnonzero(changes)
    return np.union1d(np.concatenate([[0], last + 1]), np.concatenate([last, [len(changes)]])).astype(np.intp)


def _columns(column: NDArray[np.int64], y: FloatArray) -> NDArray[np.intp]:
    starts = np.concatenate([[0], np.flatnonzero(column[1:] != column[:-1]) + 1])
    run = np.repeat(np.arange(len(starts)), np.diff(np.concatenate([starts, [len(column)]])))
    order = np.lexsort((np.nan_to_num(y), run))  # runs stay in order; within each from low to high
    ends = np.concatenate([starts[1:], [len(column)]]) - 1
    return np.unique(np.concatenate([starts, ends, order[starts], order[ends]])).astype(np.intp)


def _extremes(y: FloatArray) -> list[int]:
    return [] if np.isnan(y).all() else [int(np.nanargmin(y)), int(np.nanargmax(y))]
