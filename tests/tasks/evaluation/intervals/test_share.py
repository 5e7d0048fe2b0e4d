"""Wilson's interval against scipy's, and its rules for patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from tasks.evaluation.intervals.quantiles import student
from tasks.evaluation.intervals.ratios import ratios
from tasks.evaluation.intervals.share import share_interval, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 7), (7, 7), (3, 10), (61, 80), (999, 1000)])
def test_wilson_equals_scipy(right: int, n: int) -> None:
    reference = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right / n, n) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_quantiles_are_those_of_scipy() -> None:
    assert [student(degrees) for degrees in (1, 9, 149)] == pytest.approx([t.ppf(0.975, d) for d in (1, 9, 149)])


def test_cases_of_their_own_count_as_they_are_and_copies_as_one() -> None:
    right = np.array([1, 1, 1, 0, 1, 1, 0, 1, 1, 1])[:, None]
    alone = ratios(right, np.ones_like(right), np.arange(10))
    assert alone.variance[0] == pytest.approx(0.8 * 0.2 / 9)  # unbiased
    copies = ratios(np.repeat(right, 5, axis=0), np.ones((50, 1)), np.repeat(np.arange(10), 5))
    assert copies.variance[0] == pytest.approx(alone.variance[0])
    one = share_interval(0.8, alone.variance[0], 10, 10)
    assert share_interval(0.8, copies.variance[0], 50, 10) == pytest.approx(one)
    assert one == pytest.approx(wilson(0.8, 9, student(9)))


def test_all_right_is_as_sure_as_there_are_patients() -> None:
    low, high = share_interval(1.0, 0.0, 400, 12)
    assert high == 1
    assert low == pytest.approx(wilson(1.0, 12, student(11))[0])
    assert 0.65 < low < 0.75


def test_one_patient_says_nothing() -> None:
    lonely = ratios(np.ones((4, 1)), np.ones((4, 1)), np.zeros(4, dtype=np.intp))
    assert math.isnan(lonely.variance[0])
    assert np.isnan(share_interval(1.0, math.nan, 4, 1)).all()
    empty = ratios(np.zeros((4, 1)), np.zeros((4, 1)), np.arange(4))
    assert math.isnan(empty.value[0])
    assert np.isnan(share_interval(math.nan, math.nan, 0, 0)).all()


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=2, max_size=30))
def test_an_interval_holds_its_value_and_has_a_width(patients: list[list[bool]]) -> None:
    cells = np.array([right for patient in patients for right in patient], dtype=np.float64)[:, None]
    groups = np.repeat(np.arange(len(patients)), [len(patient) for patient in patients])
    ratio = ratios(cells, np.ones_like(cells), groups)
    low, high = share_interval(ratio.value[0], ratio.variance[0], ratio.units[0], len(patients))
    assert 0 <= low <= ratio.value[0] <= high <= 1
    assert high - low > 0.01
