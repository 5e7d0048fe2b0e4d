"""Values with their intervals below one another: rows of text, a drawing between."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.pictures.html_page import render
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import ForestPlot
from tasks.evaluation.report.page.assets import own_text
from tasks.evaluation.report.page.figures import figure
from tasks.evaluation.report.page.scales import Scale, scale_of
from tasks.evaluation.report.words import with_interval

if TYPE_CHECKING:
    from markupsafe import Markup

_MOST = 200  # rows


def forest_figure(plot: ForestPlot, name: str) -> Markup:
    """A forest of values.

    Args:
        plot: what is drawn.
        name: in the page's address.
    """
    scale = forest_scale(plot, 0.0, 100.0)
    flagged = set(plot.flagged)
    rows = [_row(one, value, scale, at in flagged) for at, (one, value) in enumerate(plot.rows[:_MOST])]
    reference = None if plot.reference is None or math.isnan(plot.reference) else _at(plot.reference, scale)
    ticks = [(at, text) for at, text in scale.ticks(4) if 0 <= at <= 100]
    picture = render(
        own_text("templates/forest.html"),
        name=name,
        x_name=plot.x_name,
        rows=rows,
        reference=reference,
        ticks=ticks,
    )
    more = f"The first {_MOST} of {len(plot.rows)} rows are shown." if len(plot.rows) > _MOST else ""
    note = " ".join(one for one in (plot.note, more) if one)
    return figure(name, plot.title, picture, note=note, kind="forested")


def forest_scale(plot: ForestPlot, start: float, end: float) -> Scale:
    """The axis of a forest: of values, intervals and the reference."""
    found = [end for _, value in plot.rows if value is not None for end in (value.value, value.low, value.high)]
    found += [] if plot.reference is None else [plot.reference]
    return scale_of([np.array(found, float)], start, end)


def _row(name: str, value: MetricValue | None, scale: Scale, flagged: bool) -> dict[str, Any]:
    if value is None:
        return {"gap": not name, "name": name, "text": "", "low": None, "at": None, "flagged": flagged}
    whole = math.isfinite(value.low) and math.isfinite(value.high)
    return {
        "name": name,
        "text": with_interval(value),
        "withheld": value.withheld,
        "at": _at(value.value, scale) if math.isfinite(value.value) else None,
        "low": _at(value.low, scale) if whole else None,
        "high": _at(value.high, scale) if whole else None,
        "flagged": flagged,
    }


def _at(value: float, scale: Scale) -> float:
    return round(float(scale.place(value)), 2)
