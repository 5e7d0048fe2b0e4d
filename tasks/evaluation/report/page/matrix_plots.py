"""A matrix of counts as SVG, each cell the darker the larger its share of the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from datamodules.pictures.html_page import render
from tasks.evaluation.report.content import MatrixPlot
from tasks.evaluation.report.page.assets import own_text
from tasks.evaluation.report.page.figures import LETTER, WIDTH, figure, shortened

if TYPE_CHECKING:
    from markupsafe import Markup

_TOP, _LARGEST, _NAMED = 34, 64, 40  # place of the first row; units of a cell at most; rows that have a label
_MOST = 4000  # cells that are drawn
_WHOLE = 12  # rows and columns of a matrix whose table has all cells; of larger ones the largest counts
_IN_TABLE = 120
_DEEPEST = 0.72  # of a cell's colour: letters on it have a contrast of 4.5:1 in both themes


def matrix_figure(plot: MatrixPlot, name: str) -> Markup:
    """A matrix.

    Args:
        plot: what is drawn.
        name: in the page's address.
    """
    counts = np.asarray(plot.counts)
    names = [" ".join(str(one).split()) or "(no name)" for one in plot.names]
    heads = [" ".join(str(one).split()) or "(no name)" for one in plot.column_names] or names
    rows, columns = counts.shape
    letters = min(max((len(one) for one in names), default=0), 16)
    labelled = max(rows, columns) <= _NAMED
    left = round(max(letters * LETTER + 12, 56)) if labelled else 56
    size = round(min((WIDTH - left - 4) / max(columns, 1), _LARGEST), 2)
    turned = labelled and any(len(one) * LETTER > size - 2 for one in heads)
    top = _TOP + (round(min(max(map(len, heads), default=0), 14) * LETTER) if turned else 0)
    totals = counts.sum(1)
    where = np.argwhere(counts > 0) if counts.size > _WHOLE**2 else np.argwhere(counts >= 0)
    drawn = where[np.sort(np.argsort(-counts[tuple(where.T)], kind="stable")[:_MOST])]
    cells = []
    for row, column in drawn.tolist():
        count = int(counts[row, column])
        share = count / totals[row] if totals[row] else 0.0
        cells.append(
            {
                "x": round(left + column * size, 1),
                "y": round(top + row * size, 1),
                "share": round(max(share * _DEEPEST, 0.04) if count else 0, 2),
                "count": count,
                "said": _said(plot, names[row], heads[column], count, share),
            }
        )
    centres = [round(size * (at + 0.5), 1) for at in range(max(rows, columns))]
    picture = render(
        own_text("templates/matrix.html"),
        width=WIDTH,
        height=round(top + rows * size + 6),
        alt=_in_words(plot, names, heads, counts),
        left=left,
        top=top,
        size=size,
        turned=turned,
        cells=cells,
        across=round(columns * size, 1),
        down=round(rows * size, 1),
        columns=[(left + centres[at], shortened(one, 14)) for at, one in enumerate(heads)] if labelled else [],
        rows=[(top + centres[at] + 4, shortened(one, 16)) for at, one in enumerate(names)] if labelled else [],
        row_name=shortened(plot.row_name, 24),
        column_name=shortened(plot.column_name, 40),
        numbers=size >= max(len(str(counts.max(initial=0))) * LETTER + 4, 16),
    )
    if max(rows, columns) <= _WHOLE:
        head = [f"{plot.row_name} \\ {plot.column_name}", *heads]
        table = [[one, *map(str, counts[at].tolist())] for at, one in enumerate(names)]
        left_out = ""
    else:
        head = [plot.row_name, plot.column_name, "count", "share of the row"]
        largest = where[np.argsort(-counts[tuple(where.T)], kind="stable")[:_IN_TABLE]].tolist()
        table = [
            [names[row], heads[column], str(counts[row, column]), f"{counts[row, column] / totals[row]:.3f}"]
            for row, column in largest
        ]
        left_out = f"the {len(largest)} largest of {len(where)} counts above 0"
    note = plot.note
    if len(where) > _MOST:
        note = f"{note} The {_MOST} largest counts are drawn.".strip()
    return figure(name, plot.title, picture, head, table, note=note, left_out=left_out)


def _said(plot: MatrixPlot, row: str, column: str, count: int, share: float) -> str:
    return f"{plot.row_name} {row}, {plot.column_name} {column}: {count} ({share:.1%} of the row)"


def _in_words(plot: MatrixPlot, names: Sequence[str], heads: Sequence[str], counts: np.ndarray) -> str:
    """The text alternative: the whole of a small matrix, of a larger one its size and its diagonal."""
    rows, columns = counts.shape
    of = f"{plot.title}: {plot.row_name} by {plot.column_name}"
    if rows * columns <= 16:
        said = [
            f"{names[row]} as {heads[column]}: {counts[row, column]}"
            for row in range(rows)
            for column in range(columns)
        ]
        return f"{of}: " + ", ".join(said)
    said = [f"{rows} rows, {columns} columns, {int(counts.sum())} in all"]
    if rows == columns and list(names) == list(heads):
        said.append(f"{int(np.trace(counts))} on the diagonal")
    return f"{of}: " + ", ".join(said)
