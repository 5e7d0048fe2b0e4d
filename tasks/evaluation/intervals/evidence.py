"""What is behind a metric: the patients that it rests on, and its interval where that has a closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tasks.evaluation.bootstrap import Interval
from tasks.evaluation.intervals.share import UNKNOWN, Ends
from tasks.evaluation.intervals.smooth import smooth_interval
from tasks.evaluation.metric_values import BIASED, NO_SPREAD


@dataclass(frozen=True)
class Evidence:
    """What is behind one metric.

    Attributes:
        ends: of its interval, where that has a closed form; None = by the jackknife.
        rests: patients of the smaller side that it rests on.
        positives: cases with the finding; None where the metric is not of one finding.
        patients: with a case that entered; None = all of the table.
        mean: over findings: its variance rests on the patients of all of them.
    """

    ends: Ends | None
    rests: int
    positives: int | None = None
    patients: int | None = None
    mean: bool = False

    def without_ends(self) -> Evidence:
        """The same for a metric whose interval has no closed form."""
        return replace(self, ends=None)


def mean_evidence(own: Mapping[str, Evidence], values: Mapping[str, float]) -> dict[str, Evidence]:
    """What is behind the means over findings, by bare name: the patients of the rarest finding that has a value.

    The mean of one finding alone is that finding's figure, and has its interval.

    Args:
        own: of ``<metric>/<name>``.
        values: of the metrics by name; NaN = undefined, and not in the mean.
    """
    found: dict[str, list[Evidence]] = {}
    for name, evidence in own.items():
        if not np.isnan(values.get(name, np.nan)):
            found.setdefault(name.partition("/")[0], []).append(evidence)
    return {
        metric: Evidence(each[0].ends if len(each) == 1 else None, min(one.rests for one in each), mean=True)
        for metric, each in found.items()
    }


def with_ends(
    evidence: Mapping[str, Evidence], intervals: Mapping[str, Interval], patients: int
) -> dict[str, Evidence]:
    """The same evidence with other intervals in the place of its own.

    Args:
        evidence: by metric; what is absent rests on all patients.
        intervals: by metric.
        patients: of the table.
    """
    every = Evidence(None, patients)
    return {
        name: replace(evidence.get(name, every), ends=(interval.low, interval.high))
        for name, interval in intervals.items()
    }


def interval_of(
    name: str, value: float, evidence: Evidence, variances: Mapping[str, float] | None, patients: int
) -> tuple[Ends, str | None]:
    """Interval of a metric, and why there is none where its ends are NaN.

    Args:
        name: of the metric, without stage.
        value: of it.
        evidence: behind it.
        variances: by the jackknife, of all metrics; None = take what the evidence has and no other.
        patients: of the table.
    """
    if variances is None:
        return evidence.ends or UNKNOWN, None
    if name.partition("/")[0] == "ece":
        return UNKNOWN, BIASED
    if evidence.ends is not None:
        return evidence.ends, NO_SPREAD
    return smooth_interval(name, value, variances[name], patients if evidence.mean else evidence.rests), NO_SPREAD
