"""What a command that evaluates shows at its end: the metrics that matter first, and each class's own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tasks.cli.tables import table_text
from tasks.evaluation.metric_names import DISTANCES, class_metrics, first_metrics
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.words import number

_SHOWN = 20  # classes


def results_text(
    metrics: Mapping[str, MetricValue], title: str, *, task: str, class_names: Sequence[str] = (), distance: str = ""
) -> str:
    """The metrics of a part as text: those of the whole that matter first, then a table by class.

    Args:
        metrics: by name, without stage.
        title: names the part, and its cases.
        task: name of the task.
        class_names: in class order.
        distance: unit of surface distances.
    """
    whole = [name for name in metrics if "/" not in name]
    first = first_metrics(task, whole)
    rows = [_row(_named(name, distance), metrics[name]) for name in first]
    text = f"{title}\n{table_text(('metric', 'value', '95 % interval', 'cases'), rows, right=('value', 'cases'))}"
    classes = [name for name in class_names if any(f"{metric}/{name}" in metrics for metric in whole)]
    columns = [name for name in class_metrics(task, first) if any(f"{name}/{own}" in metrics for own in classes)]
    if not columns:
        return text
    most = max((metric.n for metric in metrics.values()), default=0)
    cells = [[own, *(_cell(metrics.get(f"{name}/{own}"), most) for name in columns)] for own in classes[:_SHOWN]]
    heads = [_named(name, distance) for name in columns]
    text += "\n\n" + table_text(("class", *heads), cells, right=heads)
    if len(classes) > _SHOWN:
        text += f"\n... and {len(classes) - _SHOWN} classes more, in metrics.json"
    return text


def calls_text(points: Mapping[str, float], rule: str) -> str:
    """From which scores on the tables call, in a line.

    Args:
        points: threshold by class; not empty.
        rule: by which they were chosen.
    """
    said = [f"{name} from {point:.3g}" for name, point in points.items()]
    more = f" and {len(said) - _SHOWN} more (task.json)" if len(said) > _SHOWN else ""
    return f"called at (@op): {', '.join(said[:_SHOWN])}{more}; chosen by {rule} on validation"


def folds_text(table: pd.DataFrame, *, task: str, distance: str = "") -> str:
    """How far the metrics that matter first lie apart from fold to fold, as text.

    Args:
        table: from :func:`tasks.evaluation.spread.spread`.
        task: name of the task.
        distance: unit of surface distances.
    """
    by_name = table.set_index("metric")
    folds = [name for name in table.columns if re.fullmatch(r"fold_\d+", name)]
    rows = []
    for name in first_metrics(task, list(by_name.index)):
        row = by_name.loc[name, ["mean", "sd", *folds]].to_numpy(dtype=np.float64)
        values = row[2:][~np.isnan(row[2:])]
        figures = (row[0], row[1], *((values.min(), values.max()) if len(values) else (math.nan, math.nan)))
        rows.append([_named(name, distance), *(number(float(one)) for one in figures), f"{len(values)}"])
    head = ("metric", "mean", "sd", "lowest", "highest", "folds")
    return f"by fold\n{table_text(head, rows, right=head[1:])}"


def _named(metric: str, distance: str) -> str:
    return f"{metric} ({distance})" if distance and metric in DISTANCES else metric


def _row(name: str, metric: MetricValue) -> list[str]:
    interval = "" if math.isnan(metric.low) else f"{metric.low:.3f} to {metric.high:.3f}"
    if metric.withheld is not None:
        interval = f"withheld: {metric.withheld}"
    return [name, _number(metric), interval, _cases(metric)]


def _cases(metric: MetricValue) -> str:
    """Cases behind a value, with those that have no surface distance."""
    left_out = {"missed": metric.missed, "empty": metric.empty}
    said = ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
    return f"{metric.n} ({said})" if said else str(metric.n)


def _number(metric: MetricValue) -> str:
    return number(metric.value)


def _cell(metric: MetricValue | None, most: int) -> str:
    """A value; with the number of cases behind it where it is not defined for all."""
    if metric is None:
        return ""
    return _number(metric) + (f" (n={metric.n})" if metric.n < most and not math.isnan(metric.value) else "")
