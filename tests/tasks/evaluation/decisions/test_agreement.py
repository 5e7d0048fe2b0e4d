"""Bias and limits of agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tasks.evaluation.decisions.agreement import agreement


def test_one_measurement_a_patient_is_the_plain_method() -> None:
    difference = np.random.default_rng(0).normal(1, 2, 40)
    found = agreement(difference, np.arange(40))
    mean, spread = difference.mean(), difference.std(ddof=1)
    low, high = stats.t.interval(0.95, 39, mean, spread / math.sqrt(40))
    assert (found.bias.value, found.bias.low, found.bias.high) == pytest.approx((mean, low, high))
    assert (found.lower.value, found.upper.value) == pytest.approx((mean - 1.959964 * spread, mean + 1.959964 * spread))


def test_several_a_patient_are_the_analysis_of_variance() -> None:
    # With equal numbers: within + (between - within) / m, from the mean squares of one-way analysis of variance.
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(30), 3)
    difference = generator.normal(0, 2, 30)[groups] + generator.normal(0, 1, 90)
    within = np.mean([difference[groups == patient].var(ddof=1) for patient in range(30)])
    between = 3 * np.array([difference[groups == patient].mean() for patient in range(30)]).var(ddof=1)
    expected = math.sqrt(within + (between - within) / 3)
    assert agreement(difference, groups).spread == pytest.approx(expected)


@pytest.mark.parametrize("patients", [12, 60])
def test_intervals_hold_the_truth(patients: int) -> None:
    held = np.zeros(3)
    limit = 1.959964 * math.sqrt(2)
    for seed in range(300):
        generator = np.random.default_rng([seed, patients])
        groups = np.repeat(np.arange(patients), generator.integers(1, 5, patients))
        difference = 0.3 + generator.normal(size=patients)[groups] + generator.normal(size=len(groups))
        found = agreement(difference, groups)
        truths = ((found.bias, 0.3), (found.lower, 0.3 - limit), (found.upper, 0.3 + limit))
        held += [value.low <= truth <= value.high for value, truth in truths]
    assert np.all(held / 300 > 0.91)


def test_little_is_said_of_one_patient_and_of_equal_differences() -> None:
    alone = agreement(np.array([1.0, 2.0]), np.zeros(2, dtype=np.intp))
    assert alone.bias.value == 1.5
    assert math.isnan(alone.upper.value)
    same = agreement(np.ones(20), np.arange(20))
    assert (same.lower.value, same.upper.value) == (1, 1)
    assert same.bias.withheld == "all patients agree"
    assert math.isnan(agreement(np.zeros(0), np.zeros(0, dtype=np.intp)).bias.value)
