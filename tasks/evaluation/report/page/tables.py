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
_MARKS = "abcdefghijklmnopqrstuvwxyz"


def table_markup(table: Table, name: str, csv: str, most: int = MOST_ROWS) -> Markup:
    """A table.

    Args:
        table: its cells.
        name: in the page's address.
        csv: of the file that has all rows.
        most: rows that are shown.
    """
    rows = [[_plain(cell) for cell in row] for row in table.rows[:most]]
    numbers = [_is_number_column([row[at] for row in rows]) for at in range(len(table.columns))]
    reasons: dict[str, str] = {}
    for row in rows:
        for cell in row:
            if isinstance(cell, MetricValue) and cell.withheld is not None and not math.isnan(cell.value):
                reasons.setdefault(cell.withheld, _MARKS[len(reasons) % len(_MARKS)])
    cells = [
        [_cell(cell, numbers[at], at == 0, reasons, keyed=table.sortable) for at, cell in enumerate(row)]
        for row in rows
    ]
    cut = ""
    if len(table.rows) > most:
        cut = f"The first {most:,} of {len(table.rows):,} rows; all of them are in {csv}."
    return render(
        own_text("templates/table.html"),
        name=name,
        title=table.title,
        columns=list(zip(table.columns, numbers, strict=True)),
        rows=cells,
        note=table.note,
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


def _cell(cell: Cell, number: bool, first: bool, reasons: dict[str, str], *, keyed: bool) -> dict[str, Any]:
    text = cell_text(cell)
    kind = "number" if number else ""
    if text == UNDEFINED:
        kind = f"{kind} soft".strip()
    withheld = isinstance(cell, MetricValue) and cell.withheld is not None and not math.isnan(cell.value)
    return {
        "tag": 'th scope="row"' if first and not number else "td",
        "text": text,
        "kind": kind,
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
