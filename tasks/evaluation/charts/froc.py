"""Chart of free-response ROC curves: lesions found against false positives an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scansuite.errors import SuiteError
from tasks.evaluation.charts.style import (
    FAINT,
    INK,
    MOST_NAMED,
    OTHERS,
    PART_NAMES,
    best_and_worst,
    chart,
    colour_of,
    line_of,
    shortened,
)
from tasks.evaluation.detection.froc import FALSE_POSITIVES, sensitivity_at

_LEAST, _STEPS = 1 / 16, 300  # false positives an image at the left end, and places where lines are drawn through


def draw_froc(
    file: Path,
    part: str,
    curves: pd.DataFrame,
    class_names: Sequence[str] = (),
    points: Mapping[str, float] | None = None,
    counted: str = "",
) -> None:
    """Draw the curves of ``froc_<part>.csv``.

    Args:
        file: to be written.
        part: ``val`` or ``test``.
        curves: as :func:`~tasks.evaluation.detection.froc.froc_table` makes them.
        class_names: in class order; empty = as they come.
        points: lowest score of a call by class.
        counted: the images in words.

    Raises:
        SuiteError: a column is missing, or the file cannot be written.
    """
    missing = {"class", "threshold", "fp_per_image", "sensitivity", "patient_sensitivity"} - set(curves.columns)
    if missing:
        raise SuiteError(f"{file.with_suffix('.csv').name}: no column {min(missing)!r}")
    whole = curves[curves["class"].isna()]
    found = [str(name) for name in curves["class"].dropna().unique()]
    names = [name for name in class_names if name in found] or found
    by_class = {name: curves[curves["class"] == name] for name in names}
    scores = {name: _score(rows, "sensitivity") for name, rows in by_class.items()}
    shown = [name for name in names if not np.isnan(scores[name])]
    if len(shown) > MOST_NAMED:
        shown = best_and_worst(sorted(shown, key=lambda name: -scores[name]))
    most = max(8.0, min(64.0, float(np.nan_to_num(curves["fp_per_image"].max()))))
    rates = np.geomspace(_LEAST, most, _STEPS)

    title = f"FROC, {PART_NAMES.get(part, part)}" + (f": {counted}" if counted else "")
    with chart(file, title, 4.1 + 0.19 * (len(shown) + 4)) as figure:
        axes = figure.add_subplot()
        if len(names) > 1:
            for name in names:
                if name not in shown:
                    axes.plot(rates, _read(by_class[name], "sensitivity", rates), **OTHERS)
            for name in shown:
                number = names.index(name)
                style: dict[str, Any] = {"color": colour_of(number), "linestyle": line_of(number)}
                label = f"{shortened(name, 28)}: score {scores[name]:.3f}"
                axes.plot(rates, _read(by_class[name], "sensitivity", rates), **style, label=label)
                _mark(axes, by_class[name], (points or {}).get(name), colour_of(number), most)
        said = "all classes" if len(names) > 1 else shortened(names[0], 28) if names else "lesions"
        label = f"{said}: {_words(_score(whole, 'sensitivity'))}"
        axes.plot(rates, _read(whole, "sensitivity", rates), color=INK, linewidth=2.4, label=label)
        label = f"patients with a lesion found: {_words(_score(whole, 'patient_sensitivity'))}"
        axes.plot(rates, _read(whole, "patient_sensitivity", rates), color=INK, linestyle=":", label=label)
        if len(names) == 1:
            _mark(axes, whole, (points or {}).get(names[0]), INK, most)
        if points:
            style = {"color": "white", "markeredgecolor": INK, "markersize": 9, "linestyle": "none"}
            axes.plot([], [], "o", **style, label="operating point" + ("s" if len(names) > 1 else ""))
        ticks = [rate for rate in (*FALSE_POSITIVES, 16.0, 32.0, 64.0) if rate <= most]
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"1/{round(1 / rate)}" if rate < 1 else f"{rate:g}" for rate in ticks])
        axes.minorticks_off()
        label = "score: mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8"
        axes.axvspan(FALSE_POSITIVES[0], FALSE_POSITIVES[-1], color=FAINT, alpha=0.1, linewidth=0, label=label)
        axes.set(xlim=(_LEAST, most), ylim=(-0.01, 1.01), xlabel="false positives an image", ylabel="sensitivity")
        figure.legend(loc="outside lower left", ncols=1, borderaxespad=0.2)


def _read(curve: pd.DataFrame, column: str, rates: Any) -> Any:
    """Sensitivity at each rate, on the straight lines that the score is read off; NaN where no lesion is."""
    heights = curve[column].to_numpy(dtype=np.float64)
    if np.isnan(heights).any():
        return np.full(len(rates), np.nan)
    x = np.append(0.0, curve["fp_per_image"].to_numpy(dtype=np.float64))[None]
    y = np.append(0.0, heights)[None]
    return np.array([sensitivity_at(x, y, rate)[0] for rate in rates])


def _score(curve: pd.DataFrame, column: str) -> float:
    return float(np.mean(_read(curve, column, FALSE_POSITIVES)))


def _words(score: float) -> str:
    return "no lesion" if np.isnan(score) else f"score {score:.3f}"


def _mark(axes: Any, curve: pd.DataFrame, threshold: float | None, colour: Any, most: float) -> None:
    """The point at which a class calls: that of the lowest threshold which is not below it."""
    if threshold is None or curve["sensitivity"].isna().any():
        return
    called = curve[curve["threshold"] >= threshold]
    x, y = (called["fp_per_image"].max(), called["sensitivity"].max()) if len(called) else (0.0, 0.0)
    x = min(max(float(x), _LEAST), most)
    axes.plot(x, float(y), "o", color=colour, markeredgecolor=INK, markersize=9, zorder=4, clip_on=False)
