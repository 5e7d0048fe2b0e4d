"""Spread of metrics from fold to fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tasks.evaluation.metric_values import MetricValue

if TYPE_CHECKING:
    from rich.table import Table


def spread(folds: Sequence[Mapping[str, MetricValue]], together: Mapping[str, MetricValue]) -> pd.DataFrame:
    """Mean and standard deviation over folds, beside the metrics of all folds' cases together.

    Args:
        folds: metrics of each fold by name.
        together: metrics of the cases of all folds by name.

    Returns:
        A row for each metric: ``metric,mean,sd,folds`` (folds in which it is defined; the standard deviation is that of
        a sample, NaN of fewer than two), ``fold_0`` and so on, and ``out_of_fold,low,high,n`` of the cases together.
    """
    rows = []
    for name in dict.fromkeys([*together, *(name for fold in folds for name in fold)]):
        values = [fold[name].value if name in fold else math.nan for fold in folds]
        known = np.array([value for value in values if not math.isnan(value)])
        whole = together.get(name, MetricValue(math.nan, math.nan, math.nan, 0))
        rows.append(
            {
                "metric": name,
                "mean": known.mean() if len(known) else math.nan,
                "sd": known.std(ddof=1) if len(known) > 1 else math.nan,
                "folds": len(known),
                **{f"fold_{number}": value for number, value in enumerate(values)},
                "out_of_fold": whole.value,
                "low": whole.low,
                "high": whole.high,
                "n": whole.n,
            }
        )
    return pd.DataFrame(rows)


def spread_table(table: pd.DataFrame, count: int) -> Table:
    """The metrics of the whole (not those of single classes) as a table for the terminal.

    Args:
        table: from :func:`spread`.
        count: number of folds.
    """
    from rich.table import Table

    shown = Table(title=f"{count} folds")
    for heading in ("metric", "mean", "standard deviation", "lowest", "highest"):
        shown.add_column(heading, justify="left" if heading == "metric" else "right")
    folds = [f"fold_{number}" for number in range(count)]
    for _, row in table[~table["metric"].str.contains("/")].iterrows():
        values = row[folds].astype("float64")
        numbers = (row["mean"], row["sd"], values.min(), values.max())
        shown.add_row(row["metric"], *("undefined" if math.isnan(one) else f"{one:.3f}" for one in numbers))
    return shown
