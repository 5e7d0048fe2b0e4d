"""Results: every metric with its interval, the most important ones first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scansuite.words import number_of
from tasks.evaluation.metric_names import class_metrics, distance_unit, first_metrics, label_of, meaning_of
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Cell, Section, Subject, Table
from tasks.evaluation.report.header import part_of
from tasks.evaluation.report.words import with_interval

_HEAD = ("metric", "value", "cases", "patients", "positives", "meaning")
_LEFT_OUT = ("missed", "empty")  # cases without a surface distance
_SHOWN = 30  # classes


def section(subject: Subject) -> Section:
    """Results of the reported part, and below them those of validation."""
    task = subject.run.task
    metrics = subject.metrics
    first = first_metrics(task.task, list(metrics))
    whole = [name for name in metrics if "/" not in name]
    title = part_of(subject)
    unit = unit_of(subject)
    parts = [metric_table("main", f"Results, {title}", {name: metrics[name] for name in first}, unit)]
    if (table := _by_class(metrics, task.class_names, class_metrics(task.task, whole), unit)) is not None:
        parts.append(table)
    if subject.validation is not None and subject.split != "val":
        own = subject.validation.metrics(subject.settings.resamples)
        chosen = {name: own[name] for name in first if name in own}
        note = "Checkpoint, operating point and calibration were chosen on these cases: they flatter."
        parts.append(metric_table("validation", "Results, validation", chosen, unit, note))
    return Section("results", "Results", [said] if (said := answer(subject)) else [], parts=parts)


def answer(subject: Subject) -> str:
    """The headline metrics in a sentence; empty where there are none."""
    metrics = subject.metrics
    first = [
        name for name in first_metrics(subject.run.task.task, list(metrics)) if not math.isnan(metrics[name].value)
    ]
    if not first:
        return ""
    unit = unit_of(subject)
    said = [f"{label_of(name, unit)} {with_interval(metrics[name])}" for name in first[:2]]
    lead = metrics[first[0]]
    who = number_of(lead.n, "case")
    patients = subject.tables.cases.get("patient_id")
    if lead.patients is not None and patients is not None and patients.notna().all():
        who += f" of {number_of(lead.patients, 'patient')}"
    return f"On {who} ({part_of(subject)}) the model reached {' and '.join(said)}."


def unit_of(subject: Subject) -> str:
    """Unit of surface distances; empty where the table of cases says nothing of it."""
    return distance_unit(subject.tables.cases) if "spacing" in subject.tables.cases else ""


def metric_table(
    name: str, title: str, metrics: Mapping[str, MetricValue], unit: str, note: str = "", *, every: bool = False
) -> Table:
    """A row a metric; where surface distances are left out it says of how many cases.

    Args:
        name: of the table.
        title: above it.
        metrics: by name.
        unit: of surface distances.
        note: further words below it.
        every: all metrics are in it, by the name that ``metrics.json`` has for them too.
    """
    counted = [count for count in _LEFT_OUT if any(getattr(metric, count) is not None for metric in metrics.values())]
    rows: list[tuple[Cell, ...]] = []
    for own, metric in metrics.items():
        known = (metric.n, metric.patients, metric.positives, *(getattr(metric, count) for count in counted))
        rows.append((*([own] if every else []), label_of(own, unit), metric, *known, meaning_of(own)))
    head = (*(["name"] if every else []), *_HEAD[:-1], *counted, _HEAD[-1])
    said = ["95 % intervals by patient.", note, _missing(metrics)]
    if counted:
        said.append("Distances are undefined where a class is missed, or where there is none (empty).")
    return Table(name, title, head, rows, note=" ".join(filter(None, said)), sortable=every)


def _missing(metrics: Mapping[str, MetricValue]) -> str:
    reasons = sorted({metric.withheld for metric in metrics.values() if metric.withheld})
    return f"Intervals are withheld where there is reason: {'; '.join(reasons)}." if reasons else ""


def _by_class(
    metrics: Mapping[str, MetricValue], classes: Sequence[str], names: Sequence[str], unit: str
) -> Table | None:
    """A row a class; of one class alone there is none."""
    own = [name for name in classes if any(f"{metric}/{name}" in metrics for metric in names)]
    columns = [metric for metric in names if any(f"{metric}/{name}" in metrics for name in own)]
    if len(own) < 2:
        return None
    rows: list[tuple[Cell, ...]] = [
        (name, *(metrics.get(f"{metric}/{name}") for metric in columns)) for name in own[:_SHOWN]
    ]
    left = len(own) - _SHOWN
    return Table(
        "by_class",
        "By class",
        ("class", *(label_of(metric, unit) for metric in columns)),
        rows,
        note=f"{left} further classes are in the table of all metrics." if left > 0 else "",
    )
