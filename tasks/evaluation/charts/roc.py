"""Charts of ROC and precision-recall curves, with the operating point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.evaluation.charts.score_curves import FloatArray, ScoreCurve
from tasks.evaluation.charts.style import (
    FAINT,
    INK,
    MOST_NAMED,
    OTHERS,
    PART_NAMES,
    WIDTH,
    best_and_worst,
    chart,
    colour_of,
    line_of,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class _Kind:
    """How a kind of curve is drawn.

    Attributes:
        title: its name.
        axes: labels of x and y.
        area: name of the area under it.
        value: the area.
        line: x and y.
        point: x and y of an operating point (sensitivity, false positive rate, precision).
        said: that point in words.
        drawstyle: matplotlib's, between two points.
    """

    title: str
    axes: tuple[str, str]
    area: str
    value: Callable[[ScoreCurve], float]
    line: Callable[[ScoreCurve], tuple[FloatArray, FloatArray]]
    point: Callable[[tuple[float, float, float]], tuple[float, float]]
    said: Callable[[tuple[float, float, float]], str]
    drawstyle: str


_ROC = _Kind(
    "ROC",
    ("false positive rate (1 - specificity)", "sensitivity"),
    "AUROC",
    lambda curve: curve.auroc,
    lambda curve: (curve.false_positive_rate, curve.sensitivity),
    lambda point: (point[1], point[0]),
    lambda point: f"sensitivity {point[0]:.2f}, specificity {1 - point[1]:.2f}",
    "default",
)
_PRECISION_RECALL = _Kind(
    "Precision and recall",
    ("recall (sensitivity)", "precision (positive predictive value)"),
    "AP",
    lambda curve: curve.average_precision,
    lambda curve: (curve.sensitivity, np.append(curve.precision[:1], curve.precision)),
    lambda point: (point[0], point[2]),
    lambda point: f"recall {point[0]:.2f}, precision {point[2]:.2f}",
    "steps-pre",  # average precision is the area of these steps
)
_POINT: dict[str, Any] = {"marker": "o", "markersize": 9, "markeredgecolor": INK, "linestyle": "none"}


def draw_roc(file: Path, part: str, curves: Sequence[ScoreCurve], counted: str) -> None:
    """Draw ROC curves.

    Args:
        file: to be written.
        part: ``val`` or ``test``.
        curves: of the classes.
        counted: the cases behind them in words.

    Raises:
        SuiteError: the file cannot be written.
    """
    _draw(_ROC, file, part, curves, counted)


def draw_precision_recall(file: Path, part: str, curves: Sequence[ScoreCurve], counted: str) -> None:
    """Draw precision-recall curves; see :func:`draw_roc`."""
    _draw(_PRECISION_RECALL, file, part, curves, counted)


def _draw(kind: _Kind, file: Path, part: str, curves: Sequence[ScoreCurve], counted: str) -> None:
    from matplotlib.lines import Line2D

    defined = sorted((curve for curve in curves if not np.isnan(kind.value(curve))), key=lambda curve: curve.number)
    ranked = sorted(defined, key=kind.value, reverse=True)
    named = defined if len(curves) <= MOST_NAMED else ranked
    if len(named) > MOST_NAMED:
        named = best_and_worst(ranked)
    undefined = [curve for curve in curves if np.isnan(kind.value(curve))]
    handles: list[Any] = []
    title = f"{kind.title}, {PART_NAMES.get(part, part)}: {counted}"
    lines = len(named) + 3
    with chart(file, title, WIDTH - 0.4 + 0.19 * lines) as figure:
        axes = figure.add_subplot()
        _frame(axes, kind, curves)
        for curve in defined:
            if curve not in named:
                axes.plot(*kind.line(curve), **OTHERS, drawstyle=kind.drawstyle)
        several_n = len({curve.n for curve in curves}) > 1
        for place, curve in enumerate(named):
            number = curve.number if len(curves) <= MOST_NAMED else place
            label = f"{shortened(curve.name, 28)}: {kind.area} {kind.value(curve):.3f}"
            style: dict[str, Any] = {
                "color": colour_of(number),
                "linestyle": line_of(number),
                "drawstyle": kind.drawstyle,
            }
            axes.plot(*kind.line(curve), **style, zorder=3)
            handles.append(Line2D([], [], **style, label=label + (f" (n {curve.n})" if several_n else "")))
            if curve.point is not None and not np.isnan(kind.point(curve.point)).any():
                x, y = kind.point(curve.point)
                axes.plot(
                    x, y, "o", markersize=9, color=colour_of(number), markeredgecolor=INK, zorder=4, clip_on=False
                )
        handles += _further(kind, curves, named, undefined)
        figure.legend(handles=handles, loc="outside lower left", ncols=1, borderaxespad=0.2)


def _frame(axes: Axes, kind: _Kind, curves: Sequence[ScoreCurve]) -> None:
    """A square from 0 to 1, with what guessing would give."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=kind.axes[0], ylabel=kind.axes[1], aspect="equal")
    if kind is _ROC:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    elif len(curves) == 1:
        axes.axhline(curves[0].prevalence, color=FAINT, linewidth=1, linestyle=":")


def _further(
    kind: _Kind, curves: Sequence[ScoreCurve], named: Sequence[ScoreCurve], undefined: Sequence[ScoreCurve]
) -> list[Any]:
    """What the legend says beside the names of the curves."""
    from matplotlib.lines import Line2D

    handles = []
    marked = [curve for curve in named if curve.point is not None]
    if marked:
        said = "operating points"
        if len(curves) == 1 and marked[0].point is not None:
            said = f"operating point {marked[0].threshold:.3f}: {kind.said(marked[0].point)}"
        colour = colour_of(marked[0].number) if len(curves) == 1 else "white"
        handles.append(Line2D([], [], **_POINT, color=colour, label=said))
    if len(curves) == 1 and not np.isnan(curves[0].prevalence):
        guess = "guessing" if kind is _ROC else f"guessing: share of {curves[0].prevalence:.2f}"
        handles.append(Line2D([], [], color=FAINT, linewidth=1, linestyle=":", label=guess))
    grey = len(curves) - len(undefined) - len(named)
    if grey:
        handles.append(Line2D([], [], **OTHERS, label=f"{grey} others, between these"))
    if undefined:
        names = ", ".join(shortened(curve.name, 20) for curve in undefined[:2])
        more = f" and {len(undefined) - 2} more" if len(undefined) > 2 else ""
        handles.append(Line2D([], [], linestyle="none", label=f"undefined: {names}{more}"))
    return handles
