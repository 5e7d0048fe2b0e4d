"""Bars of counts or shares, as SVG: upright where their names are short, else lying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.pictures.html_page import render
from tasks.evaluation.report.content import BarPlot
from tasks.evaluation.report.page.assets import own_text
from tasks.evaluation.report.page.figures import LETTER, WIDTH, Key, figure, shortened, two_lines
from tasks.evaluation.report.page.palette import CLASSES, GENERAL
from tasks.evaluation.report.page.scales import Scale, number_text, scale_of

if TYPE_CHECKING:
    from markupsafe import Markup

_LEFT, _RIGHT, _TOP, _FOOT, _HEIGHT = 46, 12, 22, 40, 220
_MOST = 60  # bars that are drawn of each series
_IN_TABLE = 400
_LABELS, _ROW, _BAR = 118, 22, 13
_IN_WORDS = 12
_LETTERS, _LINE = 54, 15  # of a line below the axis; its height


def bar_figure(plot: BarPlot, name: str, class_names: Sequence[str] = ()) -> Markup:
    """A plot of bars.

    Args:
        plot: what is drawn.
        name: in the page's address.
        class_names: of the task: a series of that name has the colour of the class.
    """
    series = {key: np.asarray(heights, float) for key, heights in plot.series.items()}
    names = [" ".join(str(one).split()) for one in plot.names]
    styles = {key: _style(key, place, class_names) for place, key in enumerate(series)}
    upright = is_upright(names)
    shown = len(names) if upright else min(len(names), _MOST)
    heights = [values[:shown] for values in series.values()] or [np.zeros(0)]
    picture = (_upright if upright else _lying)(plot, names[:shown], series, styles, _scale(heights, upright=upright))
    head = [plot.x_name, *(f"{key}: {plot.y_name}" if len(series) > 1 else plot.y_name for key in series)]
    rows = [
        [one, *(number_text(float(values[at])) for values in series.values())]
        for at, one in enumerate(plot.names[:_IN_TABLE])
    ]
    left_out = [f"{shown} of {len(names)} are drawn"] if shown < len(names) else []
    left_out += [f"the first {_IN_TABLE} of {len(names)}"] if len(names) > _IN_TABLE else []
    keys = [Key(key, key, styles[key], bar=True) for key in series] if len(series) > 1 else []
    note = " ".join(
        one for one in (plot.note, f"The first {shown} of {len(names)} are drawn." * (shown < len(names))) if one
    )
    return figure(name, plot.title, picture, head, rows, keys=keys, note=note, left_out="; ".join(left_out[1:]))


def _style(name: str, place: int, class_names: Sequence[str]) -> str:
    if len(class_names) > 1 and name in class_names:
        return f"c{CLASSES[list(class_names).index(name) % len(CLASSES)]}"
    return f"c{place % GENERAL}"


def is_upright(names: Sequence[str]) -> bool:
    """Whether all names have their place below upright bars, or are numbers of which some may be left out."""
    room = (WIDTH - _LEFT - _RIGHT) / max(len(names), 1)
    if max((len(one) for one in names), default=0) * LETTER <= room - 4:
        return True
    return len(names) > 3 and all(one[:1].isdigit() or one[:1] in "<>≤≥-−.[" for one in names) and len(names) <= _MOST


def _scale(heights: Sequence[Any], *, upright: bool) -> Scale:
    ends = (_HEIGHT - _FOOT, _TOP) if upright else (_LABELS, WIDTH - 44)
    found = np.concatenate([*heights, np.zeros(1)])
    found = found[np.isfinite(found)]
    low, high = float(found.min()), float(found.max())
    scale = scale_of([], *ends, (low * 1.04, high * 1.04 if high > low else low + 1))
    return replace(scale, whole=high - low >= 2 and bool((found == np.round(found)).all()))


def _upright(
    plot: BarPlot, names: Sequence[str], series: dict[str, Any], styles: dict[str, str], scale: Scale
) -> Markup:
    room = (WIDTH - _LEFT - _RIGHT) / max(len(names), 1)
    breadth = room * 0.86 / max(len(series), 1)
    zero = float(scale.place(0.0))
    drawn = []
    for place, (key, values) in enumerate(series.items()):
        bars = []
        for at, one in enumerate(names):
            if not math.isfinite(values[at]):
                continue
            end = float(scale.place(float(values[at])))
            bars.append(
                {
                    "x": round(_LEFT + room * (at + 0.07) + breadth * place, 1),
                    "width": round(max(breadth - (0.5 if breadth > 3 else 0), 0.4), 1),
                    "y": round(min(end, zero), 1),
                    "height": round(max(abs(end - zero), 0.5), 1),
                    "said": _said(plot, key, one, float(values[at])),
                }
            )
        drawn.append({"name": key, "style": styles[key], "bars": bars})
    every = max(1, math.ceil(max((len(one) for one in names), default=1) * LETTER * 1.15 / room))
    below = two_lines(plot.x_name, _LETTERS)
    labels = [(round(_LEFT + room * (at + 0.5), 1), one) for at, one in enumerate(names) if at % every == 0]
    return render(
        own_text("templates/bars_upright.html"),
        width=WIDTH,
        height=_HEIGHT + _LINE * (len(below) - 1),
        alt=_in_words(plot),
        ticks=scale.ticks(),
        labels=labels,
        series=drawn,
        left=_LEFT,
        right=WIDTH - _RIGHT,
        floor=_HEIGHT - _FOOT,
        zero=round(zero, 1),
        x_name=below,
        y_name=shortened(plot.y_name, 62),
    )


def _lying(plot: BarPlot, names: Sequence[str], series: dict[str, Any], styles: dict[str, str], scale: Scale) -> Markup:
    step = max(_ROW, 9 * len(series) + 6)
    breadth = (step - 6) / max(len(series), 1) if len(series) > 1 else _BAR
    zero, floor = float(scale.place(0.0)), _TOP + step * len(names)
    drawn = []
    for place, (key, values) in enumerate(series.items()):
        bars = []
        for at, one in enumerate(names):
            if not math.isfinite(values[at]):
                continue
            end = float(scale.place(float(values[at])))
            bars.append(
                {
                    "x": round(min(end, zero), 1),
                    "width": round(max(abs(end - zero), 0.5), 1),
                    "y": round(_TOP + step * at + 4 + breadth * place, 1),
                    "height": round(max(breadth - 0.5, 1), 1),
                    "said": _said(plot, key, one, float(values[at])),
                }
            )
        drawn.append({"name": key, "style": styles[key], "bars": bars})
    below = two_lines(plot.y_name, _LETTERS)
    labels = [(round(_TOP + step * (at + 0.5) + 4, 1), shortened(one, 18)) for at, one in enumerate(names)]
    return render(
        own_text("templates/bars_lying.html"),
        width=WIDTH,
        height=floor + _FOOT + _LINE * (len(below) - 1),
        alt=_in_words(plot),
        ticks=scale.ticks(4),
        labels=labels,
        series=drawn,
        left=_LABELS,
        right=WIDTH - 44,
        top=_TOP,
        floor=floor,
        zero=round(zero, 1),
        x_name=shortened(plot.x_name, 62),
        y_name=below,
    )


def _said(plot: BarPlot, series: str, name: str, height: float) -> str:
    of = f"{series}, " if len(plot.series) > 1 else ""
    return f"{of}{name}: {number_text(height)}"


def _in_words(plot: BarPlot) -> str:
    said = [
        f"{name}: " + ", ".join(number_text(float(values[at])) for values in plot.series.values())
        for at, name in enumerate(plot.names[:_IN_WORDS])
    ]
    more = [f"and {len(plot.names) - _IN_WORDS} more"] if len(plot.names) > _IN_WORDS else []
    of = f" ({', '.join(plot.series)})" if len(plot.series) > 1 else ""
    return f"{plot.title}: {plot.y_name} by {plot.x_name}{of}: " + "; ".join([*said, *more])
