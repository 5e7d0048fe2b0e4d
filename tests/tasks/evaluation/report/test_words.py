from __future__ import annotations

import math

import pytest

from tasks.evaluation.metric_names import label_of
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Cell, PValue
from tasks.evaluation.report.words import cell_text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (MetricValue(0.92149, 0.8384, 0.9636, 50), "0.921 (0.838 to 0.964)"),
        (MetricValue(0.5, math.nan, math.nan, 50, withheld="fewer than 10 patients"), "0.500"),
        (MetricValue(math.nan, math.nan, math.nan, 0), "undefined"),
        (PValue(0.0321), "0.032"),
        (PValue(0.0004), "< 0.001"),
        (PValue(0.01, adjusted=0.04), "0.040"),
        (PValue(math.nan), "undefined"),
        (12345, "12,345"),
        (0.25, "0.250"),
        (-0.0001, "0.000"),
        (math.nan, "undefined"),
        (None, ""),
        ("<b>", "<b>"),
    ],
)
def test_a_number_reads_the_same_everywhere(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text


def test_metrics_have_names_that_readers_know() -> None:
    assert label_of("auroc") == "AUROC"
    assert label_of("sensitivity@op/mass") == "sensitivity (recall) at the operating point, mass"
    assert label_of("sensitivity@0.5fp") == "sensitivity (recall) at 0.5 false positives an image"
    assert label_of("hd95/liver", "mm") == "HD95 (mm), liver"
    assert label_of("own_metric") == "own metric"
