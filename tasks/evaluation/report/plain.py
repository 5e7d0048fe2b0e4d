"""A report as plain files: ``report.json``, its tables as CSV, and the table of results for a paper."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from scansuite.files import write_text
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Cell, PValue, Section, Table
from tasks.evaluation.report.words import cell_text
from tasks.evaluation.tables import write_table

PaperFormat: TypeAlias = Literal["latex", "markdown"]
_SUFFIXES: Mapping[PaperFormat, str] = {"latex": ".tex", "markdown": ".md"}
# Columns that a paper has no room for.
_LEFT_OUT = ("meaning",)
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "²": r"\textsuperscript{2}",
}  # fmt: skip


def report_json(
    header: Sequence[tuple[str, str]], verdict: Sequence[str], sections: Sequence[Section]
) -> dict[str, Any]:
    """The figures of a report in plain types; NaN is null.

    Args:
        header: names and values at the head.
        verdict: its sentences.
        sections: all of them.
    """
    return {
        "header": dict(header),
        "verdict": list(verdict),
        "flags": [{"section": section.name, "flag": flag} for section in sections for flag in section.flags],
        "sections": {section.name: _section(section) for section in sections},
    }


def write_report_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write what :func:`report_json` gave.

    Raises:
        SuiteError: the file cannot be written.
    """
    write_text(file, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_csv_tables(folder: Path, sections: Sequence[Section]) -> list[Path]:
    """Write each table as ``<section>_<table>.csv``; a value with an interval has a column for each end.

    Args:
        folder: made where it is absent.
        sections: of the report.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_table(table_frame(table), folder / f"{section.name}_{table.name}.csv")
        for section in sections
        for table in section.parts
        if isinstance(table, Table)
    ]


def table_frame(table: Table) -> pd.DataFrame:
    """A table, its numbers as numbers: a value with an interval has ``<column>_low`` and ``<column>_high`` too."""
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        columns[name] = [_first(cell) for cell in cells]
        if any(isinstance(cell, MetricValue) for cell in cells):
            for end in ("low", "high"):
                columns[f"{name}_{end}"] = [getattr(cell, end, math.nan) for cell in cells]
        if any(isinstance(cell, PValue) and cell.adjusted is not None for cell in cells):
            columns[f"{name}_adjusted"] = [getattr(cell, "adjusted", None) for cell in cells]
    return pd.DataFrame(columns)


def write_paper_tables(folder: Path, sections: Sequence[Section], kind: PaperFormat) -> list[Path]:
    """Write each table that is no list of cases for a paper, as ``<section>_<table>.tex`` or ``.md``.

    Args:
        folder: made where it is absent.
        sections: of the report.
        kind: of text.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for section in sections:
        for table in section.parts:
            if isinstance(table, Table) and not table.sortable:
                file = folder / f"{section.name}_{table.name}{_SUFFIXES[kind]}"
                write_text(file, paper_table(table, kind))
                files.append(file)
    return files


def paper_table(table: Table, kind: PaperFormat) -> str:
    """A table as text for a paper; its numbers read as they do on screen and page.

    Args:
        table: of a section.
        kind: ``latex`` wants the package booktabs, ``markdown`` is that of GitHub.
    """
    kept = [place for place, name in enumerate(table.columns) if name not in _LEFT_OUT]
    head = [table.columns[place] for place in kept]
    rows = [[cell_text(row[place]) for place in kept] for row in table.rows]
    return _latex(table, head, rows) if kind == "latex" else _markdown(table, head, rows)


def _markdown(table: Table, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(re.sub(r"([\\|<>*_`])", r"\\\1", " ".join(cell.split())) for cell in cells) + " |"

    lines = [f"**{table.title}**", "", line(head), "|" + " --- |" * len(head), *map(line, rows)]
    return "\n".join([*lines, *(["", table.note] if table.note else [])]) + "\n"


def _latex(table: Table, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return (
            "  "
            + " & ".join("".join(_LATEX.get(one, one) for one in " ".join(cell.split())) for cell in cells)
            + r" \\"
        )

    caption = "".join(_LATEX.get(one, one) for one in f"{table.title}. {table.note}".strip())
    columns = "l" + "r" * (len(head) - 1)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line(head),
            r"\midrule",
            *map(line, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _section(section: Section) -> dict[str, Any]:
    tables = {table.name: _table(table) for table in section.parts if isinstance(table, Table) and not table.sortable}
    return {
        "title": section.title,
        "lines": list(section.lines),
        "figures": plain(section.figures),
        "tables": tables,
    }


def _table(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, map(plain, row), strict=True)) for row in table.rows]


def plain(value: Any) -> Any:
    """A value in the types of JSON: NaN and infinite become null, arrays lists, a metric its entries."""
    if isinstance(value, (MetricValue, PValue)):
        return {name: plain(one) for name, one in asdict(value).items() if one is not None}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _first(cell: Cell) -> Any:
    return cell.value if isinstance(cell, (MetricValue, PValue)) else cell
