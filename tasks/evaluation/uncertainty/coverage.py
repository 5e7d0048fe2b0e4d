"""How often conformal sets hold the truth, how large they are, and whether that is what was stated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.intervals.ratios import IntArray, numbered, ratios
from tasks.evaluation.intervals.share import share_interval
from tasks.evaluation.metric_values import MetricValue, with_interval

FAILED = 0.005  # chance that a set which keeps its coverage is said to have failed, all labels together


@dataclass(frozen=True)
class Coverage:
    """Of fitted sets on other cases.

    Attributes:
        stated: 0..1.
        reached: share of a new patient's cases whose truth is in the set, with its interval.
        size: mean number of classes in a set, or mean width of an interval.
        single: share of sets of one class; NaN of intervals.
        empty: share of sets without any; NaN of intervals.
        right_single: of the sets of one class the share that hold the truth; NaN of intervals and without any.
        fitted: patients that they were fitted on.
        failed: fewer are covered than stated, beyond what chance in both parts explains.
    """

    stated: float
    reached: MetricValue
    size: float
    single: float
    empty: float
    right_single: float
    fitted: int
    failed: bool


def share_by_patient(right: BoolArray, groups: IntArray) -> tuple[MetricValue, float]:
    """Share of cases, each patient with the weight of one, with its interval, and its variance.

    Args:
        right: ``(n,)``.
        groups: ``(n,)`` patient number of each case.
    """
    if not len(right):
        return MetricValue(math.nan, math.nan, math.nan, 0, patients=0), math.nan
    number = numbered(groups)
    weight = (1 / np.bincount(number))[number][:, None]
    ratio = ratios(right[:, None] * weight, weight, number)
    value, variance, patients = float(ratio.value[0]), float(ratio.variance[0]), int(ratio.patients[0])
    ends = share_interval(value, variance, float(patients), patients)
    return with_interval((value, *ends), len(right), patients), variance


def coverage_of_sets(
    inside: BoolArray, target: IntArray, groups: IntArray, stated: float, fitted: int, tests: int = 1
) -> Coverage:
    """Coverage of prediction sets.

    Args:
        inside: ``(n, K)`` which classes are in the set of each case.
        target: ``(n,)`` true class numbers.
        groups: ``(n,)`` patient number of each case.
        stated: coverage that they were fitted for.
        fitted: patients that they were fitted on.
        tests: sets of how many labels are looked at; each may fail by chance that much less often (Bonferroni).
    """
    covered = inside[np.arange(len(target)), target]
    size = inside.sum(axis=1)
    single = size == 1
    reached, variance = share_by_patient(covered, groups)
    return Coverage(
        stated,
        reached,
        _mean(size),
        _mean(single),
        _mean(size == 0),
        _mean(covered[single]),
        fitted,
        _failed(reached, variance, stated, fitted, tests),
    )


def coverage_of_interval(
    error: FloatArray, half_width: float, groups: IntArray, stated: float, fitted: int
) -> Coverage:
    """Coverage of intervals of one width around predicted numbers.

    Args:
        error: ``(n,)`` predicted less true.
        half_width: in units of the target.
        groups: ``(n,)`` patient number of each case.
        stated: coverage that it was fitted for.
        fitted: patients that it was fitted on.
    """
    reached, variance = share_by_patient(np.abs(error) <= half_width, groups)
    failed = _failed(reached, variance, stated, fitted)
    return Coverage(stated, reached, 2 * half_width, math.nan, math.nan, math.nan, fitted, failed)


def whole_patients_covered(covered: BoolArray, groups: IntArray) -> MetricValue:
    """Share of patients all of whose cases are covered, ``(n,)`` each, with its interval."""
    number = numbered(groups)
    every = np.bincount(number, ~covered) == 0
    return share_by_patient(every, np.arange(len(every), dtype=np.intp))[0]


def _failed(reached: MetricValue, variance: float, stated: float, fitted: int, tests: int = 1) -> bool:
    """Whether the coverage is below the stated one by more than chance in the fitted part and in this one.

    Given the cases that it was fitted on, the coverage of a set varies like a Beta distribution of so many patients
    about the stated one (V. Vovk, Conditional validity of inductive conformal predictors, ACML 2012).
    """
    if math.isnan(reached.low) or not reached.patients:
        return False
    chance = stated * (1 - stated)
    error = math.sqrt(max(variance, chance / reached.patients) + chance / (fitted + 2))
    return reached.value < stated + NormalDist().inv_cdf(FAILED / tests) * error


def _mean(values: FloatArray | IntArray | BoolArray) -> float:
    return float(values.mean()) if len(values) else math.nan
