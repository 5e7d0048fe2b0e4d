"""Curves with bands, steps and dots over two axes, as SVG."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.html_page import render
from scansuite.words import number_of
from tasks.evaluation.report.content import FloatArray, Line, LinePlot
from tasks.evaluation.report.page.assets import own_text
from tasks.evaluation.report.page.figures import WIDTH, Key, figure, shortened, two_lines
from tasks.evaluation.report.page.palette import css_class, group_of, styles_of
from tasks.evaluation.report.page.scales import Scale, number_text, number_texts, path_of, runs_of, scale_of
from tasks.evaluation.report.page.thinning import evenly, thin_dots, thin_line

if TYPE_CHECKING:
    from markupsafe import Markup

_LEFT, _RIGHT, _TOP, _FOOT, _HEIGHT = 46, 12, 22, 40, 250
FEW_DOTS = 3  # that are drawn larger, as an operating point is
_MOST_POINTS, _FEWEST = 6000, 24  # of a plot, of a line
_OF_A_LINE = 2000
_IN_TABLE, _LINE_IN_TABLE = 240, 60
_IN_WORDS = 8  # lines that the text alternative describes
_LETTERS, _LINE = 54, 15  # of a line below the axis; its height
_OVER = 5  # units that dots may reach over the frame


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A line as it is drawn.

    Attributes:
        line: what is drawn.
        kept: numbers of its points that the reader can ask for.
        left: places that are joined; of a step more than there are points.
        top: likewise.
        band: places of the lower and the upper end; None = no band.
    """

    line: Line
    kept: NDArray[np.intp]
    left: FloatArray
    top: FloatArray
    band: tuple[FloatArray, FloatArray] | None = None


def line_figure(plot: LinePlot, name: str, class_names: Sequence[str] = (), most: int = _MOST_POINTS) -> Markup:
    """A plot of lines.

    Args:
        plot: what is drawn.
        name: in the page's address.
        class_names: of the task: lines of that name have the colour of the class.
        most: points of all lines, about.
    """
    x_scale, y_scale = scales_of(plot, (_LEFT, WIDTH - _RIGHT), (_TOP, _HEIGHT - _FOOT), square=plot.square)
    share = max(min(most // max(len(plot.lines), 1), _OF_A_LINE), _FEWEST)
    lines = [_thinned(line, x_scale, y_scale, share) for line in plot.lines]
    styles = [css_class(style) for style in styles_of(plot.lines, class_names)]
    drawn = [_markup_of(one, style) for one, style in zip(lines, styles, strict=True)]
    floor, below = y_scale.start, two_lines(plot.x_name, _LETTERS)
    picture = render(
        own_text("templates/lines.html"),
        width=WIDTH,
        height=round(floor + _FOOT + _LINE * (len(below) - 1)),
        alt=_in_words(plot),
        left=_LEFT,
        right=WIDTH - _RIGHT,
        top=_TOP,
        floor=round(floor, 1),
        x_ticks=x_scale.ticks(6),
        y_ticks=y_scale.ticks(),
        x_name=below,
        y_name=shortened(plot.y_name, 62),
        over=_OVER,
        drawn=drawn,
        x_axis=_axis_data(x_scale),
        y_axis=_axis_data(y_scale),
        names=json.dumps([plot.x_name or "x", plot.y_name or "value"], ensure_ascii=False),
    )
    head, rows, left_out = _numbers(plot, lines)
    return figure(
        name,
        plot.title,
        picture,
        head,
        rows,
        keys=keys_of(plot, styles),
        note=plot.note,
        left_out=left_out,
        kind="square" if plot.square else "",
    )


def scales_of(
    plot: LinePlot, across: tuple[float, float], down: tuple[float, float], *, square: bool = False
) -> tuple[Scale, Scale]:
    """Both axes of a plot.

    Args:
        plot: of lines.
        across: places of the left and of the right end.
        down: places of the upper and of the lower end.
        square: the lower end is where both axes are equally long.
    """
    dots = any(line.kind == "dots" for line in plot.lines)
    x_scale = scale_of([line.x for line in plot.lines], *across, plot.x_range, log=plot.log_x, margin=dots)
    heights = [one for line in plot.lines for one in (line.y, line.low, line.high) if one is not None]
    top, floor = (down[0], down[0] + across[1] - across[0]) if square else down
    return x_scale, scale_of(heights, floor, top, plot.y_range, log=plot.log_y)


def stepped(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points of a line that is constant up to the next point."""
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def keys_of(plot: LinePlot, styles: Sequence[str]) -> list[Key]:
    """Legend of a plot: each group once, with the look of its first line that has a name."""
    keys: dict[str, Key] = {}
    for line, style in zip(plot.lines, styles, strict=True):
        if line.name:
            look = "reference" if line.kind == "reference" else style
            keys.setdefault(group_of(line), Key(line.name, group_of(line), look, dots=line.kind == "dots"))
    return list(keys.values())


def _thinned(line: Line, x_scale: Scale, y_scale: Scale, most: int) -> _Drawn:
    left, top = x_scale.place(line.x), y_scale.place(line.y)
    ends = [y_scale.place(end) for end in (line.low, line.high) if end is not None]
    step = line.kind == "step" and len(left) > 1
    if step:  # thinned as it is drawn, so that small steps stay small
        ends = [stepped(left, end)[1] for end in ends]
        left, top = stepped(left, top)
    drawn = thin_dots(left, top, most) if line.kind == "dots" else thin_line(left, top, most, ends)
    kept = drawn[drawn % 2 == 0] // 2 if step else drawn
    band = (ends[0][drawn], ends[1][drawn]) if len(ends) == 2 else None
    return _Drawn(line, kept, left[drawn], top[drawn], band)


def _markup_of(one: _Drawn, style: str) -> dict[str, Any]:
    line, reference = one.line, one.line.kind == "reference"
    path, band = path_of(one.left, one.top), ""
    if line.kind == "dots":  # strokes without length and with round ends: a third of the bytes of circles
        path = "".join(f"M{part}h0" for part in re.split("[ML]", path) if part)
    if one.band is not None:
        band = (_whiskers if line.kind == "dots" else _band)(one.left, *one.band)
    return {
        "style": "reference" if reference else style,
        "group": group_of(line),
        "name": line.name,
        "mark": "stroke" if line.kind != "dots" else "dot few" if len(line.x) <= FEW_DOTS else "dot",
        "path": path,
        "band": band,
        "points": "" if reference else _points(one),
        "said": "" if line.said is None or reference else _said(one),
    }


def _band(left: FloatArray, low: FloatArray, high: FloatArray) -> str:
    paths = []
    for run in runs_of(np.isfinite(left) & np.isfinite(low) & np.isfinite(high)):
        x = left[run]
        paths.append(path_of(np.concatenate([x, x[::-1]]), np.concatenate([high[run], low[run][::-1]]), closed=True))
    return "".join(paths)


def _whiskers(left: FloatArray, low: FloatArray, high: FloatArray) -> str:
    there = np.isfinite(left) & np.isfinite(low) & np.isfinite(high)
    ends = np.stack([low, high], 1)[there]
    return "".join(path_of(np.full(2, x), pair) for x, pair in zip(left[there], ends, strict=True))


def _points(one: _Drawn) -> str:
    """Numbers of the points for the script, as they are shown: ``x y low high`` of each, parted by ``;``."""
    line = one.line
    columns = [line.x, line.y, *(end for end in (line.low, line.high) if end is not None)]
    texts = [number_texts(np.asarray(column, float)[one.kept]) for column in columns]
    return ";".join(" ".join(row) for row in zip(*texts, strict=True))


def _said(one: _Drawn) -> str:
    assert one.line.said is not None
    return json.dumps([one.line.said[number] for number in one.kept.tolist()], ensure_ascii=False)


def _axis_data(scale: Scale) -> str:
    return f"{scale.low!r} {scale.high!r} {scale.start:g} {scale.end:g} {int(scale.log)}"


def _in_words(plot: LinePlot) -> str:
    """The text alternative: what is drawn over what, and where each line begins and ends."""
    parts = [f"{plot.title}: {plot.y_name or 'value'} over {plot.x_name or 'x'}"]
    lines = [line for line in plot.lines if line.kind != "reference"]
    for line in lines[:_IN_WORDS]:
        there = np.flatnonzero(np.isfinite(line.x) & np.isfinite(line.y))
        name = line.name or "unnamed"
        if not len(there):
            parts.append(f"{name}: nothing defined")
        elif len(there) == 1:
            parts.append(f"{name}: {number_text(line.x[there[0]])}, {number_text(line.y[there[0]])}")
        elif line.kind == "dots":
            x, y = line.x[there], line.y[there]
            spread = [f"{number_text(float(end.min()))} to {number_text(float(end.max()))}" for end in (x, y)]
            parts.append(f"{name}: {number_of(len(there), 'dot')}, across {spread[0]}, up {spread[1]}")
        else:
            ends = [f"{number_text(line.x[at])}, {number_text(line.y[at])}" for at in (there[0], there[-1])]
            parts.append(f"{name}: from {ends[0]} to {ends[1]}")
    if len(lines) > _IN_WORDS:
        parts.append(f"and {len(lines) - _IN_WORDS} more")
    return "; ".join(parts)


def _numbers(plot: LinePlot, lines: Sequence[_Drawn]) -> tuple[list[str], list[list[str]], str]:
    """Head and rows of the folded table, and what is not in it."""
    shown = [one for one in lines if one.line.kind != "reference"]
    each = max(min(_LINE_IN_TABLE, _IN_TABLE // max(len(shown), 1)), 2)
    banded = any(one.line.low is not None for one in shown)
    told = any(one.line.said is not None for one in shown)
    rows, points = [], 0
    for one in shown:
        line = one.line
        points += len(line.x)
        for at in one.kept[evenly(len(one.kept), each)].tolist():
            row = [line.name, number_text(float(line.x[at])), number_text(float(line.y[at]))]
            if banded:
                row += ["" if end is None else number_text(float(end[at])) for end in (line.low, line.high)]
            rows.append([*row, *([line.said[at] if line.said is not None else ""] if told else [])])
    head = [
        "of",
        plot.x_name or "x",
        plot.y_name or "value",
        *(["lower end", "upper end"] if banded else []),
        *(["point"] if told else []),
    ]
    return head, rows, "" if len(rows) == points else f"{len(rows)} of {number_of(points, 'point')}"
