"""Plots for papers: SVG and PDF of a column's width, letters as text, whatever the data."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.report.content import BarPlot, ForestPlot, Line, LinePlot, MatrixPlot, Plot, Section
from tasks.evaluation.report.plot_files import write_plots
from tests.tasks.evaluation.report.page.pages import EVIL, metric

DEGENERATE: list[Plot] = [
    LinePlot("none", "P", "x", "y", [Line("none", np.zeros(0), np.zeros(0), kind="step")], log_x=True),
    LinePlot("undefined", "P", "x", "y", [Line(EVIL, np.arange(3.0), np.full(3, np.nan))], log_y=True, square=True),
    ForestPlot("forest", "P", "x", [(f"$a_b$ {EVIL}", metric(0.5)), ("", None)], reference=0.4, flagged=[0]),
    MatrixPlot("matrix", "P", "r", "c", ["a"], np.array([[0]])),
    BarPlot("bars", "P", "x", "y", [], {"s": np.zeros(0)}),
]


def texts(file: Path) -> list[str]:
    tree = ElementTree.parse(file)
    return ["".join(one.itertext()) for one in tree.iter("{http://www.w3.org/2000/svg}text")]


def test_letters_are_text_and_the_width_is_that_of_a_column(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 50_000)
    lines = [
        Line("a$b$ <i>", x, x**0.3, x**0.4, x**0.2, kind="step"),
        Line("chance", x[[0, -1]], x[[0, -1]], kind="reference"),
    ]
    plot = LinePlot("roc", "ROC", "1 - specificity", "sensitivity", lines, (0, 1), (0, 1), square=True)
    svg, pdf = write_plots(tmp_path / "report", [Section("curves", "Curves", parts=[plot])])
    assert [svg.name, pdf.name] == ["curves_roc.svg", "curves_roc.pdf"]
    assert {"a$b$ <i>", "chance", "1 - specificity", "sensitivity", "0.2"} <= set(texts(svg))
    (width,) = re.findall(r'<svg[^>]* width="([\d.]+)pt"', svg.read_text(encoding="utf-8"))
    assert float(width) == pytest.approx(85 / 25.4 * 72, abs=0.1)
    assert svg.stat().st_size < 200_000
    assert b"/FontFile2" in pdf.read_bytes()  # TrueType letters, embedded


def test_the_same_plot_is_the_same_file(tmp_path: Path) -> None:
    section = Section("s", "S", parts=[DEGENERATE[2]])
    first, second = (write_plots(tmp_path / name, [section]) for name in ("a", "b"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert any("0.500 (0.450 to 0.550)" in text for text in texts(first[0]))


def test_degenerate_plots_are_written(tmp_path: Path) -> None:
    files = write_plots(tmp_path, [Section("s", "S", parts=DEGENERATE)])
    assert len(files) == 2 * len(DEGENERATE)
    assert all(file.stat().st_size > 1000 for file in files)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SuiteError, match="cannot be made"):
        write_plots(tmp_path / "file", [])
