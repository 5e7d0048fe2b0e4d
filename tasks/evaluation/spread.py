"""Spread of metrics from fold to fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tasks.evaluation.metric_values import MetricValue


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
