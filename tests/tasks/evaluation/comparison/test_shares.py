"""Paired shares against statsmodels' McNemar, Tango's interval by its likelihood, and all ways to give signs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from statsmodels.stats.contingency_tables import mcnemar

from tasks.evaluation.classification.weighted import BoolArray
from tasks.evaluation.comparison.shares import EXACT, mcnemar_p, paired_share, score_interval, sign_flip_p
from tasks.evaluation.intervals.quantiles import NORMAL
from tasks.evaluation.intervals.ratios import IntArray


def calls(seed: int, n: int, rate: float = 0.2) -> tuple[BoolArray, BoolArray]:
    generator = np.random.default_rng(seed)
    first = generator.random(n) < 0.75
    return first, np.where(generator.random(n) < rate, generator.random(n) < 0.85, first).astype(bool)


def table(first: BoolArray, second: BoolArray) -> list[list[int]]:
    return [
        [int((first & second).sum()), int((first & ~second).sum())],
        [int((~first & second).sum()), int((~first & ~second).sum())],
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "exact"), [(40, True), (800, False)])
def test_one_case_a_patient_is_mcnemar(seed: int, n: int, exact: bool) -> None:
    first, second = calls(seed, n)
    found = paired_share(first.astype(float), second.astype(float), np.ones(n), np.arange(n))
    assert found.method == ("McNemar, exact" if exact else "McNemar")
    expected = mcnemar(table(first, second), exact=exact, correction=False)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)
    assert found.difference == pytest.approx(second.mean() - first.mean())
    assert found.ends[0] < found.difference < found.ends[1]


def test_signs_are_all_gone_through() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        changes = generator.integers(1, 5, generator.integers(1, 9)) * generator.choice([-1, 1])
        changes = changes * generator.choice([-1, 1], len(changes))
        sums = [
            abs(sum(sign * size for sign, size in zip(signs, changes, strict=True)))
            for signs in itertools.product([-1, 1], repeat=len(changes))
        ]
        expected = np.mean([total >= abs(int(changes.sum())) for total in sums])
        assert sign_flip_p(changes.astype(np.intp)) == pytest.approx(expected, abs=1e-12)


def test_many_patients_are_the_test_of_obuchowski() -> None:
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(150), generator.integers(1, 5, 150)).astype(np.intp)
    first, second = calls(2, len(groups), 0.4)
    found = paired_share(first.astype(float), second.astype(float), np.ones(len(groups)), groups)
    change = np.bincount(groups, second.astype(float) - first)
    assert (change != 0).sum() > EXACT
    # Statistics in Medicine 17:1495-1507, in the form of Yang and others 2010, without (K - 1) / K.
    statistic = change.sum() ** 2 / (change**2).sum()
    assert found.p == pytest.approx(math.erfc(math.sqrt(statistic / 2)))
    assert found.method == "McNemar by patient"
    assert found.patients == 150


def likelihood_distance(gained: float, lost: float, units: float, at: float) -> float:
    """Tango's statistic with the share that is lost found by maximising the likelihood."""

    def loss(losing: float) -> float:
        chances = (losing + at, losing, 1 - 2 * losing - at)
        counts = (gained, lost, units - gained - lost)
        return -sum(count * math.log(max(chance, 1e-300)) for count, chance in zip(counts, chances, strict=True))

    low, high = max(0.0, -at), (1 - at) / 2
    losing = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
    return (gained - lost - units * at) / math.sqrt(units * (2 * losing + at - at**2))


@pytest.mark.parametrize(("gained", "lost", "units"), [(12, 2, 50), (1, 0, 44), (7, 9, 30), (25, 1, 60), (3, 3, 90)])
def test_the_interval_is_tangos(gained: int, lost: int, units: int) -> None:
    low, high = score_interval(gained, lost, units)
    assert likelihood_distance(gained, lost, units, low) == pytest.approx(NORMAL, abs=1e-3)
    assert likelihood_distance(gained, lost, units, high) == pytest.approx(-NORMAL, abs=1e-3)


def test_models_that_never_disagree_have_an_interval_with_a_width() -> None:
    n = 40
    low, high = score_interval(0, 0, n)
    assert (low, high) == pytest.approx((-(NORMAL**2) / (n + NORMAL**2), NORMAL**2 / (n + NORMAL**2)))
    right = np.ones(n)
    same = paired_share(right, right, np.ones(n), np.arange(n))
    assert (same.difference, same.p) == (0, 1)
    assert same.ends[0] < -0.05 < 0.05 < same.ends[1]
    assert score_interval(n, 0, n)[1] == 1
    assert score_interval(0, n, n)[0] == -1


def test_two_scans_of_a_patient_are_no_two_witnesses() -> None:
    first, second = calls(4, 60, 0.3)
    alone = paired_share(first.astype(float), second.astype(float), np.ones(60), np.arange(60))
    twice = [np.repeat(each.astype(float), 2) for each in (first, second)]
    groups: IntArray = np.repeat(np.arange(60), 2)
    doubled = paired_share(twice[0], twice[1], np.ones(120), groups)
    assert doubled.p == pytest.approx(alone.p)
    assert doubled.ends == pytest.approx(alone.ends, abs=1e-6)
    assert (doubled.n, doubled.patients) == (120, 60)
    apart = paired_share(twice[0], twice[1], np.ones(120), np.arange(120))
    assert apart.ends[1] - apart.ends[0] < 0.8 * (alone.ends[1] - alone.ends[0])


def test_of_one_patient_nothing_is_said() -> None:
    found = paired_share(np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.ones(2), np.zeros(2, dtype=np.intp))
    assert math.isnan(found.p)
    assert math.isnan(found.ends[0])
    nobody = paired_share(np.zeros(3), np.zeros(3), np.zeros(3), np.arange(3))
    assert math.isnan(nobody.difference)


def test_means_of_runs_have_an_exact_test_too() -> None:
    assert mcnemar_p(np.array([0.5, -0.5, 0.5])) == mcnemar_p(np.array([1.0, -1.0, 1.0])) == (1.0, True)
    assert mcnemar_p(np.full(4, 2 / 3))[0] == pytest.approx(2 / 2**4)
    p, exact = mcnemar_p(np.array([0.5, -0.5, 1 / math.pi]))
    assert p == pytest.approx(math.erfc(math.sqrt((1 / math.pi) ** 2 / (0.5 + 1 / math.pi**2) / 2)))
    assert not exact
    assert mcnemar_p(np.zeros(4)) == (1.0, True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40), st.floats(1.5, 4))
def test_the_value_lies_between_ends_that_are_shares(gained: int, lost: int, others: int, quantile: float) -> None:
    units = gained + lost + others
    low, high = score_interval(gained, lost, units, quantile)
    value = (gained - lost) / units
    assert -1 <= low <= value <= high <= 1
    assert low < high
    mirrored = score_interval(lost, gained, units, quantile)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
