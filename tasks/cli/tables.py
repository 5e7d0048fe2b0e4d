"""Tables on the terminal, laid out by rich. In a pipe or file they are plain text, as wide as they need to be."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_ANY_WIDTH = 10_000


def table_text(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """A table as text; the first column is of names.

    Args:
        head: of the columns.
        rows: a text for each column.
        right: names of columns whose texts end at the same place, as numbers do.
    """
    return _plain(_laid_out(head, rows, len(head), right), _ANY_WIDTH)


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1, right: Sequence[str] = ()
) -> None:
    """Print a table.

    Args:
        head: of the columns.
        rows: a text for each column.
        names: how many of the first columns are never broken over lines.
        right: names of columns whose texts end at the same place, as numbers do.
    """
    table = _laid_out(head, rows, names, right)
    if sys.stdout.isatty():
        Console().print(table)
    else:
        print(_plain(table, _ANY_WIDTH))


def columns(rows: Sequence[tuple[str, str]], first: int, width: int | None = None) -> str:
    """Names and what they mean, side by side; the meaning goes on below itself.

    Args:
        rows: name and meaning.
        first: width of the column of names in characters.
        width: of the whole; left out: :func:`text_width`.
    """
    table = Table.grid(padding=(0, 0, 0, 2))
    table.add_column(no_wrap=True, min_width=first)
    table.add_column(overflow="fold")
    _fill(table, rows)
    return _plain(table, width or text_width())


def text_width() -> int:
    """Characters in a line of text: those of the terminal, at least 80; 118 elsewhere."""
    return max(80, Console().width) if sys.stdout.isatty() else 118


def _laid_out(head: Sequence[str], rows: Iterable[Sequence[str]], names: int, right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=number < names, overflow="fold")
    _fill(table, rows)
    return table


def _fill(table: Table, rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        table.add_row(*map(Text, row))  # not markup: what stands in a name is no instruction to the console


def _plain(table: Table, width: int) -> str:
    """A table as text without colours, and without spaces at the ends of lines."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
