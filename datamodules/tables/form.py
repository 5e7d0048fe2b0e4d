"""Form of a table of text: what stands between its cells, and in which encoding; as flags say it, or as it is found."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from datamodules.tables.encodings import codec
from scansuite.errors import SuiteError

# Columns that are kept as text: their names, or what chooses them among the names that there are.
TextColumns = Sequence[str] | Callable[[list[str]], Sequence[str]]

_NAMED = {"tab": "\t", r"\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_TRIED = (",", ";", "\t", "|")
_ROWS = 50  # that are looked at behind the first
_EXCEL = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


@dataclass(frozen=True)
class TableForm:
    """What the flags say of the tables.

    Attributes:
        separator: one character; None: it is found.
        encoding: Python's name of it; None: it is found.
        joined: it is about a table that is joined to the data's own (``--data.cases``, ``--data.split_file``), which
            may be of another form, as the ``split.csv`` of a run is: what is found as usual goes before the flags.
    """

    separator: str | None = None
    encoding: str | None = None
    joined: bool = False

    def of_joined(self) -> TableForm:
        """The form of a table that is joined."""
        return replace(self, joined=True)


AS_FOUND = TableForm()


def table_form(separator: str | None, encoding: str | None) -> TableForm:
    """The form that ``--data.separator`` and ``--data.encoding`` say.

    Raises:
        SuiteError: no single character, or no encoding.
    """
    if separator is not None:
        separator = _NAMED.get(separator.strip().lower(), separator)
        if len(separator) != 1 or separator in '"\r\n' or separator.isalnum():
            raise SuiteError(f"--data.separator {separator!r}: one character (`;`, `,`, `|`), or `tab`")
    return TableForm(separator, None if encoding is None else codec(encoding, "--data.encoding"))


class Layout(NamedTuple):
    """How the first lines of a table are to be read.

    Attributes:
        separator: between its cells.
        skipped: lines before the one that names the columns.
        columns: names, as they stand there.
    """

    separator: str
    skipped: int
    columns: list[str]


def layout_of(text: str, usual: str, form: TableForm = AS_FOUND) -> Layout:
    """The separator of a table and its columns.

    The usual one is taken where the rows have as many cells with it as the first line; else the one that gives the
    first line the most cells, if the rows have as many.

    Args:
        text: the beginning of the table; its last line may be cut off.
        usual: separator that tables of such a name have.
        form: as the flags say it.
    """
    lines = text.splitlines()
    excel = _EXCEL.fullmatch(lines[0]) if lines else None  # Excel's own way to say it
    skipped = int(excel is not None)
    lines = [line for line in lines[skipped : skipped + _ROWS + 1] if line.strip()]
    if excel is not None and (form.separator is None or form.joined):
        separator = excel[1]
    elif form.separator is not None and (not form.joined or len(_cells(lines[:1], form.separator)[0]) > 1):
        separator = form.separator
    else:
        separator = _found(lines, usual)
    return Layout(separator, skipped, _cells(lines, separator)[0])


def chosen(text_columns: TextColumns, names: Sequence[object]) -> list[object]:
    """Those of a table's columns, as it writes their names, that are kept as text."""
    clean = [str(name).strip() for name in names]
    wanted = set(text_columns(clean) if callable(text_columns) else text_columns)
    return [name for name, one in zip(names, clean, strict=True) if one in wanted]


def shown(separator: str) -> str:
    """A separator as a message has it."""
    return "a tab" if separator == "\t" else repr(separator)


def _found(lines: Sequence[str], usual: str) -> str:
    shapes = {separator: _shape(lines, separator) for separator in dict.fromkeys((usual, *_TRIED))}
    columns, even = shapes[usual]
    if columns > 1 and even:
        return usual
    best = max(shapes, key=lambda separator: (shapes[separator][1], shapes[separator][0]))
    return best if shapes[best][0] > 1 else usual


def _shape(lines: Sequence[str], separator: str) -> tuple[int, bool]:
    """How many columns the first line names, and whether no row has more cells and some have as many."""
    rows = _cells(lines, separator)
    first = len(rows[0])
    lengths = [len(_without_empty(row)) for row in rows[1:]]
    return first, first > 1 and all(length <= first for length in lengths) and (
        not lengths or any(len(row) >= first for row in rows[1:])
    )


def _without_empty(row: list[str]) -> list[str]:
    while row and not row[-1].strip():
        row = row[:-1]
    return row


def _cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Rows of cells; one row without any where there are no lines."""
    try:
        return list(csv.reader(lines, delimiter=separator, skipinitialspace=True)) or [[]]
    except (csv.Error, TypeError):
        return [[]]
