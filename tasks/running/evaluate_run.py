"""Metrics of a run folder from its files alone: no model is built, and nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path

from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.task_file import read_task
from tasks.registry.specs import spec_of


def evaluate_run(run_dir: Path | str, split: str) -> dict[str, MetricValue]:
    """Evaluate the tables of a run, and write ``metrics.json`` and what else the task writes beside it.

    Args:
        run_dir: folder with ``task.json`` and the tables, as ``fit``, ``validate`` and ``test`` leave it.
        split: the part of the tables: ``val`` or ``test``.

    Returns:
        Metrics by name, without the part.

    Raises:
        SuiteError: a file is missing (``task.json`` in runs made before there was one) or damaged, or no case is of
            this split.
    """
    folder = Path(run_dir)
    task = read_task(folder)
    return spec_of(task.task).evaluate(folder, split, task)
