"""Models compared metric by metric: which metrics, their paired differences, p adjusted, and non-inferiority."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tasks.evaluation.comparison.by_task import paired_differences
from tasks.evaluation.comparison.models import Model
from tasks.evaluation.comparison.paired import Paired, shown_p
from tasks.evaluation.comparison.seeds import SeedTest, seed_test
from tasks.evaluation.holm import holm
from tasks.evaluation.metric_names import BY_CLASS, DISTANCES, FIRST
from tasks.evaluation.metric_values import MetricValue

ALPHA = 0.05
# The first that there is decides; the others are secondary.
HEADLINE = {
    "classify": (
        "fold_auroc", "auroc", "mae", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1",
        "sensitivity@op", "specificity@op", "accuracy@op", "f1@op", "mcc", "qwk", "brier", "rmse", "r2",
    ),
    "segment": ("dice", "nsd", "hd95", "hd95_penalised", "lesion_sensitivity", "lesion_f1"),
    "detect": FIRST["detect"],
}  # fmt: skip
LOWER_IS_BETTER = frozenset({"mae", "rmse", "brier", "ece", "squared_ece", *DISTANCES})
_NO_DIRECTION = frozenset({"volume_difference"})  # best at 0
_CLASSES = 30

Verdict: TypeAlias = Literal["superior", "non-inferior", "inferior", "not shown", "unknown"]


@dataclass(frozen=True)
class Difference:
    """A metric of two models, and the other's less the reference's.

    Attributes:
        metric: its name, without stage.
        reference: of the first model.
        other: of the second.
        paired: the difference on the same cases.
        adjusted: p by Holm's method over the tests of its table; NaN = there is none.
    """

    metric: str
    reference: MetricValue
    other: MetricValue
    paired: Paired
    adjusted: float = math.nan

    @property
    def value(self) -> MetricValue:
        """The difference with its interval, or why there is none."""
        return self.paired.value

    @property
    def p(self) -> float:
        """The p before it is adjusted; NaN where the interval is withheld for want of patients."""
        return shown_p(self.paired)

    @property
    def found(self) -> bool:
        """Whether the data show a difference, with p adjusted below 0.05."""
        return self.adjusted < ALPHA

    def verdict(self, margin: float) -> Verdict:
        """What the 95 % interval says of the other model against a margin, whichever direction is better.

        Superior is what the test finds too: where p is adjusted for several models it may not.

        Args:
            margin: of non-inferiority, above 0, in units of the metric.
        """
        low, high = self.value.low, self.value.high
        if math.isnan(low) or direction(self.metric) == 0:
            return "unknown"
        if direction(self.metric) < 0:
            low, high = -high, -low
        if low > 0 and self.found:
            return "superior"
        if low > -margin:
            return "non-inferior"
        return "inferior" if high < -margin else "not shown"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A model against the reference.

    Attributes:
        reference: the first model.
        other: the model.
        primary: the metric that decides; None where there is none.
        secondary: the other metrics of the whole.
        by_class: metrics of single classes.
        seeds: p over trainings, where both have several runs.
    """

    reference: Model
    other: Model
    primary: Difference | None
    secondary: Sequence[Difference]
    by_class: Sequence[Difference]
    seeds: SeedTest | None = None


def direction(metric: str) -> int:
    """1 where more of a metric is better, -1 where less is, 0 where neither."""
    bare = metric.partition("/")[0].partition("@")[0]
    return 0 if bare in _NO_DIRECTION else -1 if bare in LOWER_IS_BETTER else 1


def compare_models(models: Sequence[Model], seed: int = 0) -> list[Comparison]:
    """Each model but the first against the first.

    p is adjusted by Holm's method over the models in the primary metric, over models and metrics in the secondary ones,
    and over models, metrics and classes in those by class: three tables, three families.

    Args:
        models: two or more, their parts aligned.
        seed: of what is drawn.
    """
    reference, *others = models
    task = reference.parts[0].task
    whole = [name for name in HEADLINE[task.task] if all(name in model.metrics for model in models)]
    single = []
    if len(task.class_names) > 1 and reference.parts[0].kind not in ("binary", "regression"):
        names = [f"{metric}/{own}" for own in task.class_names[:_CLASSES] for metric in BY_CLASS[task.task]]
        single = [name for name in names if all(name in model.metrics for model in models)]
    tables: list[list[list[Difference]]] = []
    for other in others:
        found = paired_differences(reference.parts, other.parts, [*whole, *single], reference.resamples, seed)
        own = {
            name: Difference(name, reference.metrics[name], other.metrics[name], pair) for name, pair in found.items()
        }
        tables.append([[own[name] for name in names if name in own] for names in (whole[:1], whole[1:], single)])
    families = [adjusted([table[family] for table in tables]) for family in range(3)]
    return [
        Comparison(
            reference,
            other,
            families[0][number][0] if families[0][number] else None,
            families[1][number],
            families[2][number],
            _seeds(reference, other, whole[0] if whole else "", seed),
        )
        for number, other in enumerate(others)
    ]


def adjusted(tables: Sequence[Sequence[Difference]]) -> list[list[Difference]]:
    """The differences of several tables with p adjusted over all of them together."""
    flat = holm([difference.p for table in tables for difference in table])
    values = iter(flat.tolist())
    return [[replace(difference, adjusted=next(values)) for difference in table] for table in tables]


def _seeds(reference: Model, other: Model, metric: str, seed: int) -> SeedTest | None:
    if not metric or min(len(reference.parts), len(other.parts)) < 2:
        return None
    first, second = ([run[metric].value for run in model.run_metrics] for model in (reference, other))
    return seed_test(first, second, seed=seed)
