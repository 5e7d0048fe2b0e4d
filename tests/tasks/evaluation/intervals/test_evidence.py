"""The mean over the classes of one class alone is its figure, with its interval: no two places of a report differ."""

from __future__ import annotations

import pytest

from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.sections import operating_point
from tests.tasks.evaluation.part_tables import part_tables, subject_of


@pytest.mark.parametrize("metric", ["sensitivity@op", "precision@op"])
def test_the_mean_of_one_class_is_that_class(metric: str) -> None:
    part = part_tables("detect", patients=40)
    metrics = part.metrics(50)
    assert _figures(metrics[metric]) == pytest.approx(_figures(metrics[f"{metric}/nodule"]))
    found = operating_point.section(subject_of(part, resamples=50))
    assert found is not None
    reached = next(each for each in found.parts if each.name == "reached")
    column = list(reached.columns).index(metric.partition("@")[0])  # type: ignore[union-attr]
    assert _figures(reached.rows[0][column]) == pytest.approx(_figures(metrics[metric]))  # type: ignore[union-attr,arg-type]


def _figures(value: MetricValue) -> list[float]:
    return [value.value, value.low, value.high]
