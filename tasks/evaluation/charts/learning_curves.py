"""Chart of a training: losses, the metric that chooses the checkpoint, by class too, and the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.evaluation.charts.style import (
    FAINT,
    INK,
    MOST_NAMED,
    OTHERS,
    TRAIN,
    VAL,
    chart,
    colour_of,
    line_of,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# What chooses the best checkpoint where nothing else is asked for: the first of these that a table has.
_OWN_MONITORS = (("auroc", "max"), ("dice", "max"), ("map", "max"), ("mae", "min"))
_FEW = 25  # epochs whose values have a dot each
_SPREAD = 50  # times: from here on a loss is drawn on a logarithmic scale


def own_monitor(epochs: pd.DataFrame) -> tuple[str, str] | None:
    """The metric that a task's best checkpoint is chosen by, and ``max`` or ``min``; None where the table has none."""
    return next((own for own in _OWN_MONITORS if f"val/{own[0]}" in epochs), None)


def draw_learning_curves(
    file: Path,
    epochs: pd.DataFrame,
    monitor: tuple[str, str | None] | None = None,
    class_names: Sequence[str] = (),
) -> None:
    """Draw ``metrics.csv``.

    Args:
        file: to be written.
        epochs: a row an epoch; ``epoch`` counts from 0, the chart from 1.
        monitor: metric that chooses the best checkpoint, and ``max`` or ``min`` (None: the best epoch is not marked);
            left out: that of the task.
        class_names: in class order, which gives them their colours; empty = in the order of the columns.

    Raises:
        SuiteError: the table has no epoch, or the file cannot be written.
    """
    if "epoch" not in epochs or not len(epochs):
        raise SuiteError("metrics.csv: has no epoch")
    metric, mode = monitor or own_monitor(epochs) or (None, None)
    panels: list[Callable[[Axes], None]] = []
    classes: list[str] = []
    if _has(epochs, "train/loss", "val/loss"):
        panels.append(lambda axes: _pair(axes, epochs, "loss", None))
    if metric is not None and _has(epochs, f"train/{metric}", f"val/{metric}"):
        panels.append(lambda axes: _pair(axes, epochs, metric, mode))
        classes = _classes(epochs, metric, class_names)
    if _has(epochs, "lr"):
        panels.append(lambda axes: _rate(axes, epochs))
    if len(classes) > 1:  # the last: its legend is below
        panels.append(lambda axes: _by_class(axes, epochs, f"val/{metric}", classes))
    if not panels:
        raise SuiteError("metrics.csv: has neither a loss nor a learning rate")
    lines = -(-len(classes) // 3) if 1 < len(classes) <= MOST_NAMED else 0
    title = f"Learning curves: {number_of(len(epochs), 'epoch')}"
    with chart(file, title, 0.75 + 1.75 * len(panels) + 0.2 * lines) as figure:
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, draw in zip(rows, panels, strict=True):
            draw(axes)
        first, last = float(epochs["epoch"].min()) + 1, float(epochs["epoch"].max()) + 1
        margin = max(0.02 * (last - first), 0.1 if last > first else 0.5)
        rows[-1].set(xlabel="epoch", xlim=(first - margin, last + margin))
        if last > first:
            rows[-1].xaxis.get_major_locator().set_params(integer=True)
        else:
            rows[-1].set_xticks([first])
        if lines:
            figure.legend(*rows[-1].get_legend_handles_labels(), loc="outside lower left", ncols=3)


def _has(epochs: pd.DataFrame, *names: str) -> bool:
    return any(name in epochs and np.isfinite(_values(epochs, name)).any() for name in names)


def _values(epochs: pd.DataFrame, name: str) -> Floats:
    values = pd.to_numeric(epochs[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _line(axes: Axes, epochs: pd.DataFrame, name: str, label: str, **style: Any) -> None:
    """Values of the epochs that have one: not each is validated."""
    values = _values(epochs, name)
    known = ~np.isnan(values)
    marker = "o" if known.sum() <= _FEW else ""
    axes.plot(epochs["epoch"].to_numpy(dtype=np.float64)[known] + 1, values[known], marker=marker, label=label, **style)


def _pair(axes: Axes, epochs: pd.DataFrame, metric: str, mode: str | None) -> None:
    values = []
    for part, label, colour, line in (("train", "training", TRAIN, "-"), ("val", "validation", VAL, (0, (5, 1.5)))):
        if _has(epochs, f"{part}/{metric}"):
            values.append(_values(epochs, f"{part}/{metric}"))
            _line(axes, epochs, f"{part}/{metric}", label, color=colour, linestyle=line)
    every = np.concatenate(values)
    every = every[~np.isnan(every)]
    if metric == "loss" and every.min() > 0 and every.max() > _SPREAD * every.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    if mode is not None and _has(epochs, f"val/{metric}"):
        own = _values(epochs, f"val/{metric}")
        best = best_epoch(own, _values(epochs, "val/loss") if "val/loss" in epochs else np.zeros(len(own)), mode)
        epoch = int(epochs["epoch"].iloc[best]) + 1
        axes.axvline(epoch, color=FAINT, linewidth=1, linestyle=":", label=f"best: {own[best]:.3f}, epoch {epoch}")
    axes.set_title(shortened(metric, 16), loc="left")
    # Above the panel: a place within is free in one training, and full in the next.
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.02, 0.97), ncols=3, fontsize=9.5, handlelength=1.6, columnspacing=1.0
    )


def best_epoch(values: Floats, losses: Floats, mode: str) -> int:
    """Row of the epoch of ``best.ckpt``: of equal values the one with the lower loss, then the earlier one.

    Args:
        values: ``(n,)`` of the metric; NaN is worse than any number.
        losses: ``(n,)`` of validation.
        mode: ``max`` or ``min``.
    """
    rising = values if mode == "max" else -values
    return int(np.lexsort((np.nan_to_num(losses, nan=np.inf), -np.nan_to_num(rising, nan=-np.inf)))[0])


def _by_class(axes: Axes, epochs: pd.DataFrame, metric: str, classes: Sequence[str]) -> None:
    for number, name in enumerate(classes):
        style = OTHERS
        if len(classes) <= MOST_NAMED:
            style = {"color": colour_of(number), "linestyle": line_of(number)}
        _line(axes, epochs, f"{metric}/{name}", shortened(name, 20), **style)
    many = f"{len(classes)} classes" if len(classes) > MOST_NAMED else "by class"
    axes.set_title(f"{shortened(metric.partition('/')[2], 30)}, validation {many}", loc="left")


def _classes(epochs: pd.DataFrame, metric: str, class_names: Sequence[str]) -> list[str]:
    """Classes with values of their own, in class order as far as that is known."""
    start = f"val/{metric}/"
    names = [column.removeprefix(start) for column in map(str, epochs.columns) if column.startswith(start)]
    known = [name for name in class_names if name in names]
    return [name for name in [*known, *(name for name in names if name not in known)] if _has(epochs, start + name)]


def _rate(axes: Axes, epochs: pd.DataFrame) -> None:
    _line(axes, epochs, "lr", "", color=INK)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title("learning rate", loc="left")
