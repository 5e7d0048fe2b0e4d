"""From the tables of a run to the mean absolute error."""

from __future__ import annotations

from math import nan
from pathlib import Path

from tasks.evaluation.metric_values import MetricValue, write_metrics
from tasks.evaluation.tables import find_table, read_table
from tasks.evaluation.task_file import RunTask


def count_metrics(run_dir: Path, split: str, task: RunTask) -> dict[str, MetricValue]:
    """The mean absolute error of the counts of a part."""
    table = read_table(find_table(run_dir, "predictions"))
    table = table[table["split"] == split]
    error = (table["prediction"].astype(float) - table["target"].astype(float)).abs().mean()
    metrics = {"mae": MetricValue(float(error), nan, nan, len(table))}
    write_metrics(run_dir / "metrics.json", {f"{split}/{name}": value for name, value in metrics.items()})
    return metrics
