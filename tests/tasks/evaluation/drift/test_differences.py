"""Two-sample tests and effect sizes, against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tasks.evaluation.drift.differences import (
    adjust,
    compare,
    pooled,
    stability_index,
    standardised_mean,
    standardised_shares,
)
from tasks.evaluation.drift.variables import category, number

GENERATOR = np.random.default_rng(5)


def test_numbers_are_those_of_scipy() -> None:
    first, second = GENERATOR.normal(size=70), GENERATOR.normal(0.4, 1.5, size=90)
    found = compare(number("x", "column", first), number("x", "column", second))
    known = stats.ks_2samp(first, second, method="exact")
    assert found.p == pytest.approx(known.pvalue, abs=1e-12)
    assert found.distance == pytest.approx(known.statistic, abs=1e-12)
    assert found.standardised == pytest.approx(
        (second.mean() - first.mean()) / math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    )
    low, high = found.standardised_interval
    assert low < found.standardised < high


@pytest.mark.parametrize(
    ("table", "test"),
    [
        ([[40, 60, 30], [50, 40, 60]], "chi-squared"),
        ([[12, 3], [9, 14]], "chi-squared"),
        ([[11, 1], [9, 4]], "Fisher"),
        ([[20, 1, 5], [12, 4, 2]], "random tables"),
    ],
)
def test_categories_are_those_of_scipy(table: list[list[int]], test: str) -> None:
    sides = [np.repeat(list("abc"[: len(row)]), row) for row in table]
    found = compare(category("x", "column", sides[0]), category("x", "column", sides[1]))
    assert found.distance == pytest.approx(stats.contingency.association(np.array(table), method="cramer"), abs=1e-12)
    if test == "chi-squared":
        assert found.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=1e-12)
    elif test == "Fisher":
        assert found.p == pytest.approx(stats.fisher_exact(table).pvalue, abs=1e-12)
    else:
        assert found.p == pytest.approx(every_table(np.array(table)), abs=0.02)


def every_table(table: NDArray[np.int64]) -> float:
    """p of Pearson's statistic over all 2 x 3 tables of these margins."""
    row, columns = int(table[0].sum()), table.sum(axis=0)
    law = stats.multivariate_hypergeom(columns, row)

    def statistic(first: NDArray[np.int64]) -> float:
        return float(stats.chi2_contingency(np.array([first, columns - first]), correction=False).statistic)

    observed, total = statistic(table[0]), 0.0
    for one in range(min(row, columns[0]) + 1):
        for two in range(min(row - one, columns[1]) + 1):
            first = np.array([one, two, row - one - two])
            if first[2] <= columns[2] and statistic(first) >= observed - 1e-9:
                total += float(law.pmf(first))
    return total


def test_shares_of_two_levels_have_the_usual_standardised_difference() -> None:
    p, q = 0.3, 0.45
    known = (q - p) / math.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    assert standardised_shares(np.array([[70, 30], [55, 45]])) == pytest.approx(known)
    assert standardised_shares(np.array([[10, 0], [0, 10]])) == math.inf
    assert standardised_shares(np.array([[3, 0, 7], [6, 0, 14]])) == 0
    assert math.isnan(standardised_shares(np.array([[0, 0], [1, 2]])))


def test_levels_with_few_cases_are_one_together() -> None:
    names, table = pooled(["a", "b", "c", "d"], np.array([[20, 1, 2, 9], [30, 2, 0, 8]]))
    assert names == ["a", "d", "all others"]
    assert table.tolist() == [[20, 9, 3], [30, 8, 2]]


def test_the_stability_index_by_hand() -> None:
    known = (0.75 - 0.25) * math.log(0.75 / 0.25) * 2
    assert stability_index(np.array([25, 75]) * 10**8, np.array([75, 25]) * 10**8) == pytest.approx(known, abs=1e-6)
    assert stability_index(np.array([5, 5]), np.array([5, 5])) == 0


@given(st.lists(st.floats(-1e6, 1e6), max_size=30), st.lists(st.floats(-1e6, 1e6), max_size=30), st.sampled_from("nc"))
@settings(max_examples=60, deadline=None)
def test_whatever_the_values_a_difference_has_sense(first: list[float], second: list[float], kind: str) -> None:
    make = number if kind == "n" else category
    found = compare(make("x", "column", np.array(first)), make("x", "column", np.array(second)))
    assert math.isnan(found.distance) or 0 <= found.distance <= 1 + 1e-9
    assert math.isnan(found.p) or 0 <= found.p <= 1
    assert math.isnan(found.p) == bool(found.untested)
    assert math.isnan(found.psi) or found.psi >= 0
    if min(len(first), len(second)) < 10:
        assert found.untested


def test_groups_of_one_value_each() -> None:
    assert standardised_mean(np.ones(5), np.ones(4)) == 0
    assert standardised_mean(np.ones(5), np.full(4, 2.0)) == math.inf
    assert math.isnan(standardised_mean(np.ones(1), np.ones(4)))
    same = compare(number("x", "image", np.ones(50)), number("x", "image", np.ones(60)))
    assert same.untested == "the same in all"
    assert not adjust([same])[0].flagged


def test_a_trifle_in_many_patients_is_no_flag() -> None:
    first, second = GENERATOR.normal(size=100_000), GENERATOR.normal(0.05, size=100_000)
    found = adjust([compare(number("x", "score", first), number("x", "score", second))])[0]
    assert found.p < 1e-6
    assert not found.flagged
