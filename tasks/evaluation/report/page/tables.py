"""Tables of a section as HTML: numbers to the right, why an interval is missing below, long ones cut and sortable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.pictures.html_page import render
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Cell, PValue, Table
from tasks.evaluation.report.page.assets import own_text
from tasks.evaluation.report.words import UNDEFINED, cell_text

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_ROWS = 500  # of a table in the page; all of them are in its CSV
_IN_A_LINE = 2  # columns whose intervals stand beside their values, on a desk
_MARKS = "abcdefghijklmnopqrstuvwxyz"


def table_markup(table: Table, name: str, csv: str, most: int = MOST_ROWS) -> Markup:
    """A table.

    Args:
        table: its cells.
        name: in the page's address.
        csv: of the file that has all rows.
        most: rows that are shown.
    """
    whole = [[_plain(cell) for cell in row] for row in table.rows[:most]]
    # A column in which nothing stands takes room from the others; its CSV has it.
    used = [
        at
        for at in range(len(table.columns))
        if not whole or any(row[at] is not None and row[at] != "" for row in whole)
    ]
    heads, rows = [table.columns[at] for at in used], [[row[at] for at in used] for row in whole]
    columns = [[row[at] for row in rows] for at in range(len(used))]
    numbers = [_is_number_column(column) for column in columns]
    kinds = ["number" if number else _width(column) for number, column in zip(numbers, columns, strict=True)]
    reasons: dict[str, str] = {}
    for row in rows:
        for cell in row:
            if isinstance(cell, MetricValue) and cell.withheld is not None and not math.isnan(cell.value):
                reasons.setdefault(cell.withheld, _MARKS[len(reasons) % len(_MARKS)])
    cells = [
        [_cell(cell, kinds[at], at == 0, reasons, keyed=table.sortable) for at, cell in enumerate(row)] for row in rows
    ]
    intervals = sum(any(isinstance(cell, MetricValue) for cell in column) for column in columns)
    cut = ""
    if len(table.rows) > most:
        cut = f"The first {most:,} of {len(table.rows):,} rows; all of them are in {csv}."
    return render(
        own_text("templates/table.html"),
        name=name,
        title=table.title,
        columns=list(zip(heads, kinds, strict=True)),
        rows=cells,
        note=table.note,
        roomy=intervals <= _IN_A_LINE,
        sortable=table.sortable and len(rows) > 1,
        cut=cut,
        reasons=[(mark, reason) for reason, mark in reasons.items()],
    )


def _plain(cell: Cell | np.generic) -> Cell:
    return cell.item() if isinstance(cell, np.generic) else cell


def _is_number_column(cells: Sequence[Cell]) -> bool:
    there = [cell for cell in cells if cell is not None]
    return bool(there) and all(
        isinstance(cell, (int, float, MetricValue, PValue)) and not isinstance(cell, bool) for cell in there
    )


def _width(cells: Sequence[Cell]) -> str:
    """How much room a column of texts wants at least."""
    longest = max((len(cell) for cell in cells if isinstance(cell, str)), default=0)
    return "long" if longest > 60 else "text" if longest > 14 else ""


def _cell(cell: Cell, kind: str, first: bool, reasons: dict[str, str], *, keyed: bool) -> dict[str, Any]:
    text = cell_text(cell)
    # The interval may go to a line of its own in a narrow column, but not fall to pieces.
    value, space, interval = text.partition(" (") if isinstance(cell, MetricValue) else (text, "", "")
    withheld = isinstance(cell, MetricValue) and cell.withheld is not None and not math.isnan(cell.value)
    return {
        "head": first and kind != "number",
        "text": value,
        "interval": f"({interval}" if space else "",
        "kind": f"{kind} soft".strip() if text == UNDEFINED else kind,
        "mark": reasons[cell.withheld] if withheld and isinstance(cell, MetricValue) and cell.withheld else "",
        "key": _key(cell) if keyed else None,
    }


def _key(cell: Cell) -> str | None:
    """What a number is sorted by."""
    if isinstance(cell, PValue):
        cell = cell.value if cell.adjusted is None else cell.adjusted
    elif isinstance(cell, MetricValue):
        cell = cell.value
    if isinstance(cell, (int, float)):
        return "" if isinstance(cell, float) and math.isnan(cell) else f"{cell:.8g}"
    return None
