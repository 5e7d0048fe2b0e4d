"""The plots of a report as SVG and PDF for a paper: the width of one or of two columns, letters as text."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scansuite.errors import SuiteError
from scansuite.files import replacing
from tasks.evaluation.charts.style import FAINT, INK, look, shortened
from tasks.evaluation.report.content import BarPlot, ForestPlot, Line, LinePlot, MatrixPlot, Plot, Section
from tasks.evaluation.report.page.bar_plots import is_upright
from tasks.evaluation.report.page.figures import two_lines
from tasks.evaluation.report.page.line_plots import FEW_DOTS, scales_of
from tasks.evaluation.report.page.palette import COLOURS, DASHES, GENERAL, group_of, styles_of
from tasks.evaluation.report.page.palette import INK as LETTERS
from tasks.evaluation.report.page.thinning import thin_dots, thin_line
from tasks.evaluation.report.words import with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".pdf")
MM = 1 / 25.4  # of an inch
COLUMN, PAGE = 85 * MM, 180 * MM  # widths of a column and of a page of most journals
_POINTS = 4000  # of a line
_FINE = 2000.0  # units along which points are told apart
_BARS, _ROWS, _KEYS = 60, 80, 8  # that are drawn
_BELOW, _BESIDE = 52, 32  # letters of a line below an axis, and beside one
_CELLS = 15  # rows of a matrix that has its counts as numbers
_LOOK: dict[str, Any] = {
    "font__size": 7.5,
    "axes__labelsize": 7.5,
    "xtick__labelsize": 7,
    "ytick__labelsize": 7,
    "legend__fontsize": 6.8,
    "axes__linewidth": 0.6,
    "grid__linewidth": 0.5,
    "lines__linewidth": 1.2,
    "lines__markersize": 3,
    "xtick__major__width": 0.6,
    "ytick__major__width": 0.6,
    "svg__fonttype": "none",  # letters stay letters, to be searched and mended
    "pdf__fonttype": 42,
    "svg__hashsalt": "scansuite",  # the same plot, the same file
}


def write_plots(folder: Path, sections: Sequence[Section], class_names: Sequence[str] = ()) -> list[Path]:
    """Write each plot as ``<section>_<plot>.svg`` and ``.pdf``; its title and note are for the caption, not in it.

    Args:
        folder: made where it is absent.
        sections: of the report.
        class_names: of the task: a line of that name has the colour that the class has in pictures.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"{folder}: cannot be made ({error.strerror}): name another folder") from None
    files = []
    for section in sections:
        for part in section.parts:
            if isinstance(part, (LinePlot, ForestPlot, MatrixPlot, BarPlot)):
                files += _write(folder / f"{section.name}_{part.name}", part, class_names)
    return files


def _write(stem: Path, plot: Plot, class_names: Sequence[str]) -> list[Path]:
    # No pyplot: it would look for a display, and keep figures.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    files = []
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of each font that it embeds
    with look(**_LOOK):
        figure = Figure(figsize=(COLUMN, COLUMN * 0.75), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if isinstance(plot, LinePlot):
            _lines(figure, axes, plot, class_names)
        elif isinstance(plot, ForestPlot):
            _forest(figure, axes, plot)
        elif isinstance(plot, MatrixPlot):
            _matrix(figure, axes, plot)
        else:
            _bars(figure, axes, plot)
        for suffix in SUFFIXES:
            file = stem.parent / (stem.name + suffix)
            date = {"Date": None} if suffix == ".svg" else {"CreationDate": None}
            with replacing(file, durable=False) as temporary:
                figure.savefig(temporary, format=suffix[1:], metadata={"Title": _flat(plot.title), **date})
            files.append(file)
    return files


def _lines(figure: Figure, axes: Axes, plot: LinePlot, class_names: Sequence[str]) -> None:
    x_scale, y_scale = scales_of(plot, (0.0, _FINE), (0.0, _FINE))
    named = 0
    labelled = set()
    for line, (colour, dash) in zip(plot.lines, styles_of(plot.lines, class_names), strict=True):
        label = None
        if line.name and group_of(line) not in labelled:
            labelled.add(group_of(line))
            label, named = shortened(line.name, 40), named + 1
        left, top = x_scale.place(line.x), y_scale.place(line.y)
        kept = thin_dots(left, top, _POINTS) if line.kind == "dots" else thin_line(left, top, _POINTS)
        _line(axes, line, kept, label, colour=_colour(colour), dash=DASHES[dash])
    axes.set_xlabel(_in_lines(plot.x_name, _BELOW))
    axes.set_ylabel(_in_lines(plot.y_name, _BESIDE))
    for scale, which in ((x_scale, "x"), (y_scale, "y")):
        if scale.log:
            getattr(axes, f"set_{which}scale")("log")
            getattr(axes, f"set_{which}ticks")(*scale.round_numbers())
            getattr(axes, f"set_{which}ticks")([], minor=True)
        getattr(axes, f"set_{which}lim")(scale.low, scale.high)
    height = COLUMN if plot.square else COLUMN * 0.75
    figure.set_size_inches(COLUMN, height)
    if plot.square:
        axes.set_box_aspect(1)
    if named > 1:
        _legend(figure, axes, height, named)


def _legend(figure: Figure, axes: Axes, height: float, entries: int) -> None:
    """Below the plot, where it hides nothing; the plot keeps its height. Of many lines beside it, on a whole page."""
    handles, labels = axes.get_legend_handles_labels()
    if entries > _KEYS:
        figure.set_size_inches(PAGE, max(height, (math.ceil(entries / 2) * 3.4 + 6) * MM))
        figure.legend(handles, labels, loc="outside right upper", ncols=2 if entries <= 60 else 3)
        return
    columns = 3 if max(map(len, labels)) <= 12 else 2 if max(map(len, labels)) <= 24 else 1
    columns = min(columns, entries)
    figure.set_size_inches(COLUMN, height + (math.ceil(entries / columns) * 3.6 + 2) * MM)
    figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def _line(axes: Axes, line: Line, kept: Any, label: str | None, *, colour: str, dash: Sequence[float]) -> None:
    x, y = line.x[kept], line.y[kept]
    ends = None if line.low is None or line.high is None else (line.low[kept], line.high[kept])
    if line.kind == "reference":
        axes.plot(x, y, color=FAINT, linewidth=0.7, linestyle=(0, (4, 3)), label=label, zorder=1)
        return
    if line.kind == "dots":
        if ends is not None:
            axes.vlines(x, *ends, color=colour, linewidth=0.8, zorder=2)
        size = 5 if len(line.x) <= FEW_DOTS else 3
        axes.plot(x, y, "o", color=colour, markersize=size, markeredgewidth=0, alpha=0.8, label=label, zorder=3)
        return
    style = (0, tuple(dash)) if dash else "-"
    step = line.kind == "step"
    axes.plot(x, y, color=colour, linestyle=style, label=label, drawstyle="steps-post" if step else None, zorder=3)
    if ends is not None:
        axes.fill_between(x, *ends, step="post" if step else None, color=colour, alpha=0.15, linewidth=0, zorder=2)


def _forest(figure: Figure, axes: Axes, plot: ForestPlot) -> None:
    rows = list(plot.rows[:_ROWS])
    figure.set_size_inches(PAGE, (14 + 5 * len(rows)) * MM)
    flagged = set(plot.flagged)
    if plot.reference is not None and math.isfinite(plot.reference):
        axes.axvline(plot.reference, color=FAINT, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
    for at, (_, value) in enumerate(rows):
        if value is None:
            continue
        colour = COLOURS[1 if at in flagged else 0][0]
        if math.isfinite(value.low) and math.isfinite(value.high):
            axes.plot([value.low, value.high], [at, at], color=colour, linewidth=1)
        if math.isfinite(value.value):
            axes.plot([value.value], [at], marker="s", color=colour, markersize=3.5)
        axes.text(1.03, at, with_interval(value), transform=axes.get_yaxis_transform(), va="center", fontsize=7)
    names = [("* " if at in flagged else "") + shortened(name, 48) for at, (name, _) in enumerate(rows)]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(_in_lines(plot.x_name, _BELOW))


def _matrix(figure: Figure, axes: Axes, plot: MatrixPlot) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.asarray(plot.counts)
    rows, columns = counts.shape
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    heads = list(plot.column_names or plot.names)
    few = max(rows, columns) <= _CELLS
    width = COLUMN if max(rows, columns) <= 6 else PAGE
    figure.set_size_inches(width, width * min(max(0.55 + 0.35 * rows / max(columns, 1), 0.5), 1))
    shades = LinearSegmentedColormap.from_list("shares", ["#ffffff", COLOURS[0][0]])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto" if rows != columns else "equal")
    every = [max(1, math.ceil(one / 40)) for one in (columns, rows)]
    texts = [shortened(one, 22) for one in heads[:: every[0]]]
    turned = max(map(len, texts), default=0) * max(len(texts), 1) > 24 * width / COLUMN
    axes.set_xticks(
        range(0, columns, every[0]), texts, rotation=45 if turned else 0, ha="right" if turned else "center"
    )
    axes.set_yticks(range(0, rows, every[1]), [shortened(one, 26) for one in plot.names[:: every[1]]])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.set_xlabel(shortened(plot.column_name, 40))
    axes.set_ylabel(shortened(plot.row_name, 40))
    if few:
        for row, column in np.ndindex(*counts.shape):
            colour = "white" if shares[row, column] > 0.9 else INK  # the better contrast, 4.3:1 at least
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=7)


def _bars(figure: Figure, axes: Axes, plot: BarPlot) -> None:
    names = list(plot.names[:_BARS])
    lying = not is_upright([shortened(one, 200) for one in names])
    breadth = 0.84 / max(len(plot.series), 1)
    for place, (name, heights) in enumerate(plot.series.items()):
        where = np.arange(len(names)) - 0.42 + breadth * (place + 0.5)
        values = np.asarray(heights, float)[: len(names)]
        colour = COLOURS[place % GENERAL][0]
        if lying:
            axes.barh(where, values, breadth * 0.95, color=colour, label=shortened(name, 30))
        else:
            axes.bar(where, values, breadth * 0.95, color=colour, label=shortened(name, 30))
    every = 1 if lying else max(1, math.ceil(len(names) * max(len(str(one)) for one in names) / 44)) if names else 1
    at, texts = range(0, len(names), every), [shortened(one, 34) for one in names[::every]]
    height = max(COLUMN * 0.5, (10 + 5 * len(names) * max(len(plot.series) / 2, 1)) * MM) if lying else COLUMN * 0.7
    figure.set_size_inches(COLUMN, height)
    if lying:
        axes.set_yticks(at, texts)
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlabel(_in_lines(plot.y_name, _BELOW))
        axes.set_ylabel(_in_lines(plot.x_name, _BESIDE))
    else:
        axes.set_xticks(at, texts)
        axes.grid(False, axis="x")
        axes.set_xlabel(_in_lines(plot.x_name, _BELOW))
        axes.set_ylabel(_in_lines(plot.y_name, _BESIDE))
    if len(plot.series) > 1:
        _legend(figure, axes, height, len(plot.series))


def _colour(number: int) -> str:
    return INK if number == LETTERS else COLOURS[number][0]


def _in_lines(name: str, letters: int) -> str:
    return "\n".join(shortened(line, letters) for line in two_lines(name, letters))


def _flat(text: str) -> str:
    return shortened(text, 200).strip()
