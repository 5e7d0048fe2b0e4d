"""Sections of a report as one HTML page that needs nothing else: from disk, on paper, and without its script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datamodules.pictures.html_page import html_page, render
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


@dataclass(frozen=True)
class _Around:
    """What all parts of a page share.

    Attributes:
        class_names: that have a colour.
        points: most that a plot may have.
        folder: of the tables.
    """

    class_names: Sequence[str]
    points: int
    folder: str


def report_page(
    title: str,
    header: Sequence[tuple[str, str]],
    verdict: Sequence[str],
    sections: Sequence[Section],
    *,
    class_names: Sequence[str] = (),
    folder: str = "report",
) -> str:
    """The page.

    Args:
        title: its heading, and that of the window.
        header: names and values of facts about the run.
        verdict: up to three sentences; the flags of all sections follow them.
        sections: in their order.
        class_names: of the task without background: a line of that name has the colour that the class has in pictures.
        folder: in which the tables lie as CSV, beside the page.
    """
    around = _Around(tuple(class_names), _points_of_plot(sections), folder)
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
        sections=[_section(section, around) for section in sections],
    )
    style = own_text("report.css") + own_text("gallery.css") + style_sheet()
    scripts = (own_text("report.js"), own_text("gallery.js"))
    return html_page(title, body, style=style, scripts=scripts)


def _section(section: Section, around: _Around) -> Mapping[str, Any]:
    groups: list[dict[str, Any]] = []
    for part in section.parts:
        is_plot = not isinstance(part, (Table, ForestPlot, Gallery))
        if not groups or not is_plot or not groups[-1]["plots"]:
            groups.append({"plots": is_plot, "parts": []})
        groups[-1]["parts"].append(_part(part, section.name, around))
    return {
        "name": section.name,
        "title": section.title,
        "lines": list(section.lines),
        "flags": list(section.flags),
        "details": section.details,
        "groups": groups,
    }


def _part(part: Any, section: str, around: _Around) -> Markup:
    name = f"{section}-{part.name}"
    if isinstance(part, Table):
        return table_markup(part, name, f"{around.folder}/{section}_{part.name}.csv")
    if isinstance(part, LinePlot):
        return line_figure(part, name, around.class_names, around.points)
    if isinstance(part, ForestPlot):
        return forest_figure(part, name)
    if isinstance(part, MatrixPlot):
        return matrix_figure(part, name)
    if isinstance(part, BarPlot):
        return bar_figure(part, name, around.class_names)
    if isinstance(part, Gallery):
        return gallery_markup(part, name)
    raise TypeError(f"no part of a report: {type(part).__name__}")


def _points_of_plot(sections: Sequence[Section]) -> int:
    plots = sum(isinstance(part, LinePlot) for section in sections for part in section.parts)
    return min(_POINTS_OF_PLOT, _POINTS // max(plots, 1))
