"""Sections of a report as one HTML page that needs nothing else: from disk, on paper, and without its script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.pictures.html_page import html_page, render
from scansuite.files import write_text
from tasks.evaluation.report.content import BarPlot, ForestPlot, Gallery, LinePlot, MatrixPlot, Section, Table
from tasks.evaluation.report.page.assets import own_text
from tasks.evaluation.report.page.bar_plots import bar_figure
from tasks.evaluation.report.page.forest_plots import forest_figure
from tasks.evaluation.report.page.gallery import gallery_markup
from tasks.evaluation.report.page.line_plots import line_figure
from tasks.evaluation.report.page.matrix_plots import matrix_figure
from tasks.evaluation.report.page.palette import style_sheet
from tasks.evaluation.report.page.tables import table_markup

if TYPE_CHECKING:
    from markupsafe import Markup

# Facts that stand in a line below the heading, before the summary; all of them follow it.
_FIRST = ("Data", "Evaluated", "Model")
# Of all plots together: some 40 bytes each.
_POINTS, _POINTS_OF_PLOT = 80_000, 6000


def report_page(
    title: str,
    header: Sequence[tuple[str, str]],
    verdict: Sequence[str],
    sections: Sequence[Section],
    *,
    class_names: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        title: its heading, and that of the window.
        header: names and values of facts about the run.
        verdict: up to three sentences; the flags of all sections follow them.
        sections: in their order.
        class_names: of the task: a line of that name has the colour that the class has in pictures.
    """
    body = render(
        own_text("templates/report.html"),
        title=title,
        first=[value for name, value in header if name in _FIRST and value],
        header=[(name, value) for name, value in header if value],
        verdict=list(verdict),
        flags=[
            {"text": flag, "name": section.name, "title": section.title}
            for section in sections
            for flag in section.flags
        ],
        sections=[_section(section, class_names, _points_of_plot(sections)) for section in sections],
    )
    style = own_text("report.css") + own_text("gallery.css") + style_sheet()
    scripts = (own_text("report.js"), own_text("gallery.js"))
    return html_page(title, body, style=style, scripts=scripts)


def render_report(
    file: Path,
    title: str,
    header: Sequence[tuple[str, str]],
    verdict: Sequence[str],
    sections: Sequence[Section],
    *,
    class_names: Sequence[str] = (),
) -> None:
    """Write the page of :func:`report_page` as a file.

    Raises:
        SuiteError: the file cannot be written.
    """
    write_text(file, report_page(title, header, verdict, sections, class_names=class_names))


def _section(section: Section, class_names: Sequence[str], most_points: int) -> Mapping[str, Any]:
    groups: list[dict[str, Any]] = []
    for part in section.parts:
        is_plot = not isinstance(part, (Table, ForestPlot, Gallery))
        if not groups or not is_plot or not groups[-1]["plots"]:
            groups.append({"plots": is_plot, "parts": []})
        groups[-1]["parts"].append(_part(part, section.name, class_names, most_points))
    return {
        "name": section.name,
        "title": section.title,
        "lines": list(section.lines),
        "flags": list(section.flags),
        "details": section.details,
        "groups": groups,
    }


def _part(part: Any, section: str, class_names: Sequence[str], most_points: int) -> Markup:
    name = f"{section}-{part.name}"
    if isinstance(part, Table):
        return table_markup(part, name, f"report/{section}_{part.name}.csv")
    if isinstance(part, LinePlot):
        return line_figure(part, name, class_names, most_points)
    if isinstance(part, ForestPlot):
        return forest_figure(part, name)
    if isinstance(part, MatrixPlot):
        return matrix_figure(part, name)
    if isinstance(part, BarPlot):
        return bar_figure(part, name, class_names)
    if isinstance(part, Gallery):
        return gallery_markup(part, name)
    raise TypeError(f"no part of a report: {type(part).__name__}")


def _points_of_plot(sections: Sequence[Section]) -> int:
    plots = sum(isinstance(part, LinePlot) for section in sections for part in section.parts)
    return min(_POINTS_OF_PLOT, _POINTS // max(plots, 1))
