"""Metrics from the tables of a run folder and its ``task.json``: one function a task."""

from __future__ import annotations

from pathlib import Path

from tasks.evaluation.evaluate import evaluate_classification, evaluate_detection, evaluate_segmentation
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.task_file import RunTask


def classification(run_dir: Path, split: str, task: RunTask) -> dict[str, MetricValue]:
    """See :func:`~tasks.evaluation.evaluate.evaluate_classification`."""
    return evaluate_classification(run_dir, split, split, task["target"], task.class_names, task["positive_class"])


def segmentation(run_dir: Path, split: str, task: RunTask) -> dict[str, MetricValue]:
    """See :func:`~tasks.evaluation.evaluate.evaluate_segmentation`."""
    return evaluate_segmentation(run_dir, split, split, task.class_names)


def detection(run_dir: Path, split: str, task: RunTask) -> dict[str, MetricValue]:
    """See :func:`~tasks.evaluation.evaluate.evaluate_detection`."""
    return evaluate_detection(
        run_dir,
        split,
        split,
        task.class_names,
        task.operating_points,
        task["max_detections"],
        froc_iou=task["froc_iou"],
    )
