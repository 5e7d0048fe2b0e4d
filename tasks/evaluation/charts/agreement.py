"""Charts of predicted against true numbers (regression), and of their differences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.charts.style import FAINT, PART_NAMES, TRAIN, VAL, WIDTH, chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

_FEW = 200  # points that do not hide one another


def draw_predicted(file: Path, part: str, target: FloatArray, prediction: FloatArray, counted: str) -> None:
    """Draw predicted against true numbers, with the line where both are equal.

    Args:
        file: to be written.
        part: ``val`` or ``test``.
        target: ``(n,)`` true numbers.
        prediction: ``(n,)``.
        counted: the cases in words.

    Raises:
        SuiteError: the file cannot be written.
    """
    with chart(file, f"Predicted and true, {PART_NAMES.get(part, part)}: {counted}", WIDTH - 0.4) as figure:
        axes = figure.add_subplot()
        both = np.concatenate([target, prediction])
        low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
        margin = 0.05 * (high - low) or max(abs(high) * 0.05, 0.5)
        ends = (low - margin, high + margin)
        axes.plot(ends, ends, color=FAINT, linestyle="--", linewidth=1.2, label="predicted = true")
        _points(axes, target, prediction)
        axes.set(xlim=ends, ylim=ends, xlabel="true", ylabel="predicted", aspect="equal")
        figure.legend(loc="outside lower left")


def draw_differences(file: Path, part: str, target: FloatArray, prediction: FloatArray, counted: str) -> None:
    """Draw differences against means, with their mean and the limits between which 95 % lie (Bland-Altman).

    Source: J. M. Bland and D. G. Altman, Statistical methods for assessing agreement between two methods of clinical
    measurement, Lancet 327:307-310, 1986. Arguments as in :func:`draw_predicted`. Limits ask for two cases.

    Raises:
        SuiteError: the file cannot be written.
    """
    difference, middle = prediction - target, (prediction + target) / 2
    with chart(file, f"Bland-Altman, {PART_NAMES.get(part, part)}: {counted}", 4.6) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=FAINT, linewidth=1, linestyle=":")
        if len(difference):
            bias = float(difference.mean())
            axes.axhline(bias, color=VAL, linewidth=1.6, label=f"mean {bias:.4g}")
        if len(difference) > 1:
            reach = 1.96 * float(difference.std(ddof=1))
            for number, limit in enumerate((bias - reach, bias + reach)):
                label = f"95 % limits {bias - reach:.4g} to {bias + reach:.4g}" if number == 0 else None
                axes.axhline(limit, color=VAL, linewidth=1.2, linestyle="--", label=label)
        _points(axes, middle, difference)
        axes.margins(x=0.05, y=0.15)
        axes.set(xlabel="mean of predicted and true", ylabel="predicted - true")
        if len(difference):
            figure.legend(loc="outside lower left", ncols=2)


def _points(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    few = len(x) <= _FEW
    axes.scatter(x, y, s=26 if few else 10, color=TRAIN, alpha=0.75 if few else 0.35, linewidths=0, zorder=3)
