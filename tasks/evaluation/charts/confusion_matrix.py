"""Chart of a confusion matrix: counts, and colours by the share of the true class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scansuite.errors import SuiteError
from tasks.evaluation.charts.style import INK, PART_NAMES, WIDTH, chart, shortened

_MOST_SHARES, _MOST_NUMBERS = 8, 20  # classes whose cells have shares, and counts
_MOST_NAMES = 30  # classes that are all named; of more each n-th
_EMPTY = "#ededed"  # a row without a case


def draw_confusion_matrix(file: Path, part: str, matrix: pd.DataFrame, counted: str = "") -> None:
    """Draw a confusion matrix.

    Args:
        file: to be written.
        part: ``val`` or ``test``.
        matrix: cases by true class (rows) and predicted class (columns), both named.
        counted: the cases in words; empty = their number alone.

    Raises:
        SuiteError: the table is no such matrix, or the file cannot be written.
    """
    counts = matrix.to_numpy(dtype=np.float64)
    size = len(counts)
    if not size or counts.shape != (size, size) or (counts < 0).any():
        raise SuiteError(f"{file.with_suffix('.csv').name}: is no square table of counts")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    names = [shortened(str(name), 16) for name in matrix.index]
    step = -(-size // _MOST_NAMES)
    letters = 11 if size <= _MOST_SHARES else max(7.0, 11 - 0.2 * (size - _MOST_SHARES))
    turned = max(map(len, names)) * size > 42

    title = f"Confusion matrix, {PART_NAMES.get(part, part)}: {counted or f'{int(totals.sum())} cases'}"
    with chart(file, title, WIDTH - 0.2) as figure:
        axes = figure.add_subplot()
        axes.set_facecolor(_EMPTY)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        places = np.arange(0, size, step)
        axes.set_xticks(places, [names[place] for place in places], fontsize=letters, rotation=90 if turned else 0)
        axes.set_yticks(places, [names[place] for place in places], fontsize=letters)
        axes.tick_params(length=0)
        axes.set(xlabel="predicted", ylabel="true (% of its row)" if size <= _MOST_SHARES else "true")
        if size <= _MOST_NUMBERS:
            for row, column in np.ndindex(counts.shape):
                share, count = shares[row, column], int(counts[row, column])
                text = str(count)
                if size <= _MOST_SHARES and not np.isnan(share):
                    text += f"\n{share:.0%}"
                ink = "white" if share > 0.6 else INK
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=letters)
        if size > _MOST_SHARES:
            bar = figure.colorbar(image, ax=axes, shrink=0.8, format=lambda share, _: f"{share:.0%}")
            bar.outline.set_visible(False)
            bar.set_label("of the true class")
