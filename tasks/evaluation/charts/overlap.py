"""Chart of a segmentation's Dice: the cases of each class as dots, over a box plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scansuite.errors import SuiteError
from tasks.evaluation.charts.style import INK, PART_NAMES, chart, colour_of, shortened

_MOST_CLASSES = 30
_MOST_DOTS = 400  # of a class; of more its box tells


def draw_dice(file: Path, part: str, predictions: pd.DataFrame, class_names: Sequence[str], counted: str = "") -> None:
    """Draw the Dice of each case, class by class; cases where it is undefined (neither truth nor calls) are left out.

    Args:
        file: to be written.
        part: ``val`` or ``test``.
        predictions: the rows of the part, one a case and class: ``class`` and ``dice``.
        class_names: in class order, with the background or without; its colours are those of the overlays.
        counted: the cases in words.

    Raises:
        SuiteError: a column is missing, or the file cannot be written.
    """
    for column in ("class", "dice"):
        if column not in predictions:
            raise SuiteError(f"predictions table: no column {column!r}")
    values = {
        str(name): rows["dice"].dropna().to_numpy(dtype=np.float64)
        for name, rows in predictions.groupby("class", sort=False)
    }
    foreground = [name for name in class_names if name in values]
    numbers = {name: number for number, name in enumerate(foreground)}
    names = sorted(values, key=lambda name: numbers.get(name, len(numbers)))
    title = f"Dice by case, {PART_NAMES.get(part, part)}" + (f": {counted}" if counted else "")
    if len(names) > _MOST_CLASSES:
        lowest = sorted(names, key=lambda name: float(np.median(values[name])) if len(values[name]) else 2.0)
        names = [name for name in names if name in set(lowest[:_MOST_CLASSES])]
        title = f"Dice by case, the {len(names)} lowest of {len(values)} classes" + (f": {counted}" if counted else "")
    with chart(file, title, 1.1 + 0.42 * max(len(names), 2)) as figure:
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            own, colour = values[name], colour_of(numbers.get(name, place))
            if len(own) > 4:
                line = {"color": INK, "linewidth": 1.1}
                axes.boxplot(
                    own, positions=[place], orientation="horizontal", widths=0.56, showfliers=False, manage_ticks=False,
                    boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 2.4},
                )  # fmt: skip
            if len(own) <= _MOST_DOTS:
                # Beside one another in the order of the table, not at random: the same picture each time.
                shift = (np.arange(len(own)) * 0.618034 % 1 - 0.5) * 0.42
                axes.scatter(own, place + shift, s=20, color=colour, alpha=0.8, linewidths=0, zorder=3, clip_on=False)
            said = f"{np.median(own):.3f} (n {len(own)})" if len(own) else "undefined"
            axes.text(1.03, place, said, va="center", fontsize=10, clip_on=False)
        axes.text(1.03, -0.72, "median", va="center", fontsize=10, clip_on=False)
        axes.set_yticks(range(len(names)), [shortened(name, 20) for name in names])
        axes.set(xlim=(-0.01, 1.01), ylim=(len(names) - 0.5, -0.5), xlabel="Dice")
        axes.grid(visible=False, axis="y")
