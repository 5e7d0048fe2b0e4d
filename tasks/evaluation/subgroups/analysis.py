"""Performance by subgroup: each measure in each, its difference from the rest, and whether a column matters.

A flag is raised where the test of a column, adjusted by Holm's method over all columns and measures, is significant,
and the interval of a subgroup does not reach the value of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.holm import holm
from tasks.evaluation.metric_values import LEAST_PATIENTS, MetricValue
from tasks.evaluation.subgroups.estimates import Estimate, Measure, difference, on_scale
from tasks.evaluation.subgroups.groupings import Grouping, find_groupings
from tasks.evaluation.subgroups.heterogeneity import Heterogeneity, heterogeneity, moderated
from tasks.evaluation.subgroups.measures import measures_of

# Of an adjusted test: stricter than usual, since a report has many checks, and of fair models few may raise a flag.
SIGNIFICANT = 0.01


@dataclass(frozen=True)
class Subgroup:
    """A measure in one subgroup.

    Attributes:
        name: of the subgroup.
        metric: its value, with interval, or why that is withheld.
        rest: value less that of all other cases whose subgroup is known.
        off: its interval does not reach the value of the whole.
    """

    name: str
    metric: MetricValue
    rest: MetricValue
    off: bool


@dataclass(frozen=True)
class Comparison:
    """A measure over the subgroups of a column, or of two.

    Attributes:
        grouping: the subgroups.
        measure: what is compared.
        whole: value of all cases, over the same classes.
        subgroups: in the order of the grouping.
        test: whether they differ, of those that are large enough.
        adjusted: its p-value by Holm's method over all comparisons; NaN = no test.
    """

    grouping: Grouping
    measure: Measure
    whole: MetricValue
    subgroups: Sequence[Subgroup]
    test: Heterogeneity
    adjusted: float = math.nan

    @property
    def flagged(self) -> list[Subgroup]:
        """Subgroups that a reader must not miss, the farthest from the whole first; none of chance alone."""
        if not self.adjusted < SIGNIFICANT:
            return []
        off = [each for each in self.subgroups if each.off]
        return sorted(off, key=lambda each: -abs(each.metric.value - self.whole.value))

    @property
    def gap(self) -> float:
        """Largest less smallest value of the subgroups that are large enough; NaN of fewer than two."""
        values = [each.metric.value for each in self.subgroups if not math.isnan(each.metric.low)]
        return max(values) - min(values) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Analysis:
    """All comparisons of a part.

    Attributes:
        measures: what was compared, the headline metric first.
        groupings: by what.
        comparisons: a measure each of a grouping each, grouping by grouping.
    """

    measures: Sequence[Measure]
    groupings: Sequence[Grouping]
    comparisons: Sequence[Comparison] = field(default_factory=list)

    def of(self, grouping: Grouping) -> list[Comparison]:
        """The comparisons of a grouping, in the order of the measures."""
        return [each for each in self.comparisons if each.grouping is grouping]


def analyse(tables: PartTables, asked: Sequence[str] = (), resamples: int = 1000) -> Analysis:
    """Compare the subgroups of a part.

    Args:
        tables: of the part.
        asked: columns; empty = those found fit for it, see
            :func:`tasks.evaluation.subgroups.groupings.find_groupings`.
        resamples: of studentised intervals of means of masks.

    Raises:
        SuiteError: a column is missing, or a cell is not what it should be.
    """
    groupings = find_groupings(tables, asked)
    if not groupings:
        return Analysis([], [])
    measures = measures_of(tables, resamples)
    every = np.ones(len(tables.cases), dtype=bool)
    wholes = [measure.estimate(every) for measure in measures]
    found = [
        _compare(grouping, measure, whole)
        for grouping in groupings
        for measure, whole in zip(measures, wholes, strict=True)
    ]
    adjusted = holm([each.test.p for each in found])
    comparisons = [
        Comparison(each.grouping, each.measure, each.whole, each.subgroups, each.test, float(p))
        for each, p in zip(found, adjusted, strict=True)
    ]
    return Analysis(measures, groupings, comparisons)


def _compare(grouping: Grouping, measure: Measure, whole: Estimate) -> Comparison:
    """A measure over the subgroups of a grouping."""
    numbers = range(len(grouping.names))
    estimates = [measure.estimate(grouping.number == k) for k in numbers]
    large = [k for k in numbers if estimates[k].patients >= LEAST_PATIENTS and estimates[k].known]
    # Over the classes that all large subgroups have: means over others would differ for their classes.
    columns = [c for c in whole.known if all(c in estimates[k].known for k in large)]
    if not columns:  # no class is in all: over those of each, and without a test
        columns = whole.known
    metric = whole.metric(columns, of_several=measure.several)
    subgroups = []
    for k in numbers:
        own = [c for c in columns if c in estimates[k].known]
        rest = measure.estimate((grouping.number >= 0) & (grouping.number != k))
        of_rest = difference(estimates[k], rest, [c for c in own if c in rest.known])
        value = estimates[k].metric(own, of_several=measure.several)
        off = not value.low <= metric.value <= value.high and not math.isnan(value.low)
        subgroups.append(Subgroup(grouping.names[k], value, of_rest, off))
    tested = [k for k in large if all(c in estimates[k].known for c in columns)] if columns else []
    return Comparison(
        grouping, measure, metric, subgroups, _test(measure, [estimates[k] for k in tested], columns, metric)
    )


def _test(measure: Measure, estimates: Sequence[Estimate], columns: list[int], whole: MetricValue) -> Heterogeneity:
    """Whether the measure differs between subgroups."""
    if len(estimates) < 2:
        return Heterogeneity(math.nan, len(estimates), math.nan)
    moves = np.stack([each.move(columns) for each in estimates], axis=1)
    rests = np.array([each.rest(columns) for each in estimates], dtype=np.intp)
    most = [float(each.most[columns].sum()) for each in estimates]
    pairs = [
        on_scale(each.value(columns), float((move**2).sum()), int(rest), limit, measure.scale, whole.value)
        for each, move, rest, limit in zip(estimates, moves.T, rests, most, strict=True)
    ]
    values, errors = (np.array(numbers) for numbers in zip(*pairs, strict=True))
    if not np.isfinite(most).any():
        errors = moderated(errors, rests)
    return heterogeneity(values, errors, moves, rests)
