"""What counting is made of: all that the suite must be told of a task."""

from __future__ import annotations

from tasks.registry.spec import TaskSpec

SPEC = TaskSpec(
    name="count",
    help="how many squares are on an image",
    task="counting.parts.CountTask",
    evaluator="counting.parts.CountEvaluator",
    inference="counting.parts.CountInference",
    ensemble="counting.parts.CountEnsemble",
    metrics="counting.metrics.count_metrics",
    data_base="counting.parts.CountData",
    data=("counting.parts.Squares",),
)
