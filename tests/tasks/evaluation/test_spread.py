"""Mean and deviation over folds, where a metric may be undefined in some."""

from __future__ import annotations

import math
import statistics

import pytest

from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.spread import spread


def metric(value: float) -> MetricValue:
    return MetricValue(value, math.nan, math.nan, 10)


def test_by_figure() -> None:
    values = [0.7, 0.9, 0.85]
    folds = [{"auroc": metric(value), "f1/rare": metric(math.nan)} for value in values]
    folds[0]["f1/rare"] = metric(0.25)
    del folds[2]["f1/rare"]
    table = spread(folds, {"auroc": MetricValue(0.8, 0.7, 0.9, 30)}).set_index("metric")
    row = table.loc["auroc"]
    assert row["mean"] == pytest.approx(statistics.mean(values))
    assert row["sd"] == pytest.approx(statistics.stdev(values))
    assert [row[f"fold_{fold}"] for fold in range(3)] == values
    assert (row["out_of_fold"], row["low"], row["high"], row["n"], row["folds"]) == (0.8, 0.7, 0.9, 30, 3)
    rare = table.loc["f1/rare"]
    assert (rare["mean"], rare["folds"]) == (0.25, 1)
    assert rare[["sd", "out_of_fold"]].isna().all()
