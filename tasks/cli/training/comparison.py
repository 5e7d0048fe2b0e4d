"""Comparison of a model before and after pruning: metrics on the same cases, and latency side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from tasks.base import Task
from tasks.cli.evaluate import RunEvaluation
from tasks.cli.runs.checkpoints import find_checkpoint, open_checkpoint
from tasks.cli.runs.run_dir import count_test
from tasks.compression.latency import paired_latency
from tasks.compression.pruning import multiply_adds, prunable_weights
from tasks.evaluation.comparison.alignment import aligned_parts
from tasks.evaluation.comparison.by_task import paired_differences
from tasks.evaluation.comparison.paired import Paired, shown_p
from tasks.evaluation.evaluated import KNOWN_TASKS, read_evaluated
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.tables import write_table
from tasks.hardware import MemoryFormat, place
from tasks.loading import build_from

FILE = "compression.csv"
# Printed of the metrics, beside the one that chooses checkpoints; all of them are in the file.
SHOWN = ("accuracy", "sensitivity", "specificity", "iou", "map50", "rmse")


class Row(NamedTuple):
    """A quantity before and after, and of a metric the paired difference; NaN = unknown, or there is none."""

    quantity: str
    before: float
    before_low: float
    before_high: float
    after: float
    after_low: float
    after_high: float
    difference: float = math.nan
    difference_low: float = math.nan
    difference_high: float = math.nan
    p: float = math.nan


def compare(task: str, evaluation: RunEvaluation, model: Task, memory_format: MemoryFormat) -> None:
    """Evaluate the model that was pruned on the same parts, time both, write ``compression.csv`` and print it.

    Nothing where ``--model.prune`` was not given. The tables of the model before are in ``before/``.

    Args:
        task: name of the task.
        evaluation: that has evaluated the model after pruning.
        model: after pruning and training.
        memory_format: of the weights of both.
    """
    if model.pruning.method is None:
        return
    path = find_checkpoint(task, model.network.weights, flag="--model.weights")
    parent = build_from(open_checkpoint(path, task), task, path)
    place(parent, memory_format, evaluation.trainer.strategy.root_device.type)
    earlier = RunEvaluation(
        evaluation.trainer, evaluation.evaluator, evaluation.data, evaluation.run_dir / "before", evaluation.leaks
    )
    if evaluation.trainer.is_global_zero:
        earlier.run_dir.mkdir(exist_ok=True)
    for split in evaluation.parts:
        earlier.run(parent, split)
    earlier.write(parent, show=False)
    if not evaluation.trainer.is_global_zero:
        return
    if "test" in evaluation.parts:
        count_test(task, earlier.run_dir, str(path), len(evaluation.data.rows("test")))
    device = evaluation.trainer.strategy.root_device
    rows = [*_costs(parent.to(device), model.to(device), int(evaluation.data.batch_size))]
    for split in evaluation.parts:
        pairs = _paired(earlier.run_dir, evaluation.run_dir, split)
        rows += _metric_rows(split, earlier.metrics[split], evaluation.metrics[split], pairs)
    write_table(pd.DataFrame(rows), evaluation.run_dir / FILE)
    _show(rows, model.monitor[0], model.pruning.method)


def _costs(before: Task, after: Task, batch: int) -> list[Row]:
    nan = math.nan

    def row(quantity: str, first: float, second: float) -> Row:
        return Row(quantity, first, nan, nan, second, nan, nan)

    pair = (before, after)
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in pair]
    weights = [torch.cat([weight.flatten() for weight in prunable_weights(model).values()]) for model in pair]
    rows = [
        row("parameters", *counts),
        row("nonzero", *(float((weight != 0).double().mean()) for weight in weights)),
        row("multiply_adds", *(multiply_adds(model, before.trial_inputs()) for model in pair)),
    ]
    for images in dict.fromkeys((1, batch)):
        blank, *further = before.trial_inputs(images)
        with torch.autocast(before.device.type, enabled=False):
            taken = paired_latency(*pair, (torch.rand_like(blank), *further))
        rows.append(row(f"milliseconds_batch_{images}", *taken))
    return rows


def _paired(before: Path, after: Path, split: str) -> dict[str, Paired]:
    """Differences on the same cases of what :func:`_metric_rows` shows; none of a task that is not ours."""
    runs = [read_evaluated(folder) for folder in (before, after)]
    if runs[0].task.task not in KNOWN_TASKS:
        return {}
    first, second = aligned_parts(runs, split)
    names = [name for name in first.metrics(resamples=0) if "/" not in name and "@" not in name]
    return paired_differences([first], [second], names)


def _metric_rows(
    split: str, before: Mapping[str, MetricValue], after: Mapping[str, MetricValue], pairs: Mapping[str, Paired]
) -> list[Row]:
    """The bare metrics of both, those of single classes and of operating points left out."""
    rows = []
    for name, later in after.items():
        if name not in before or "/" in name or "@" in name:
            continue
        both = [end for one in (before[name], later) for end in (one.value, one.low, one.high)]
        pair = pairs.get(name)
        change = () if pair is None else (pair.value.value, pair.value.low, pair.value.high, shown_p(pair))
        rows.append(Row(f"{split}/{name}", *both, *change))
    return rows


def _show(rows: list[Row], monitor: str, method: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "before", "after", "change", title=f"pruned: {method}")
    for row in rows:
        name = row.quantity.split("/")[-1]
        if "/" in row.quantity and name not in (monitor, *SHOWN):
            continue
        cells = [
            _cell(row.quantity, *part)
            for part in (
                (row.before, row.before_low, row.before_high),
                (row.after, row.after_low, row.after_high),
            )
        ]
        change = f"x {row.after / row.before:.2f}" if "/" not in row.quantity else _change(row)
        table.add_row(row.quantity.replace("_", " "), *cells, change)
    Console().print(table)
    print("milliseconds: medians of both networks in turn, in float32, on this machine")


def _change(row: Row) -> str:
    """The paired difference with its interval, where there is one."""
    if math.isnan(row.difference):
        return f"{row.after - row.before:+.3f}"
    ends = "" if math.isnan(row.difference_low) else f" ({row.difference_low:+.3f} to {row.difference_high:+.3f})"
    return f"{row.difference:+.3f}{ends}"


def _cell(quantity: str, value: float, low: float, high: float) -> str:
    if quantity in ("parameters", "multiply_adds"):
        return f"{value:,.0f}"
    text = f"{value:.3f}" if "/" in quantity or quantity == "nonzero" else f"{value:.2f}"
    return text if math.isnan(low) else f"{text} ({low:.3f}-{high:.3f})"
