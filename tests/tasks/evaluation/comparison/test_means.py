"""Paired means against scipy's t and Wilcoxon, and what undefined cells do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tasks.evaluation.comparison.means import paired_means, wilcoxon_p


def test_one_case_a_patient_is_scipys_paired_t() -> None:
    generator = np.random.default_rng(0)
    first = generator.random((600, 1))
    second = first + generator.normal(0.01, 0.1, (600, 1))
    found = paired_means(first, second, np.arange(600), {"dice": [0]})["dice"]
    expected = stats.ttest_rel(second[:, 0], first[:, 0])
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)
    interval = expected.confidence_interval()
    assert found.ends == pytest.approx((interval.low, interval.high), abs=1e-12)  # Student's beyond 500 patients
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(second[:, 0] - first[:, 0]).pvalue, abs=1e-12)
    assert found.method == "paired t"


def test_scans_of_a_patient_are_one_witness_in_both_tests() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random((2, 40, 1))
    alone = paired_means(first, second, np.arange(40), {"dice": [0]})["dice"]
    groups = np.repeat(np.arange(40), 3)
    thrice = paired_means(np.repeat(first, 3, axis=0), np.repeat(second, 3, axis=0), groups, {"dice": [0]})["dice"]
    assert (thrice.p, thrice.wilcoxon) == pytest.approx((alone.p, alone.wilcoxon))
    assert thrice.ends == pytest.approx(alone.ends)
    assert (thrice.method, thrice.n, thrice.patients) == ("paired t by patient", 120, 40)


def test_few_patients_have_the_studentised_interval() -> None:
    generator = np.random.default_rng(2)
    first = 0.9 - 0.02 * generator.random((40, 1))
    second = first + 0.02 + 0.02 * generator.random((40, 1))
    second[:4] -= np.array([[0.5], [0.4], [0.2], [0.1]])  # failures
    found = paired_means(first, second, np.arange(40), {"dice": [0]})["dice"]
    student = stats.ttest_rel(second[:, 0], first[:, 0]).confidence_interval()
    assert found.ends[0] < found.difference < found.ends[1]
    # The failures lie below: so does the interval reach further down than Student's.
    assert found.ends[0] < student.low
    assert found.wilcoxon < 0.01 < found.p  # most cases are better, the mean is not


def test_cells_that_either_lacks_do_not_enter() -> None:
    first = np.full((12, 2), 5.0)
    second = first - np.arange(12)[:, None] / 10
    first[0, 0], second[1, 0] = np.nan, np.nan
    second[:, 1] = np.nan
    found = paired_means(first, second, np.arange(12), {"hd95": [0, 1], "hd95/a": [0], "hd95/b": [1]})
    assert found["hd95/a"].n == 10
    assert found["hd95/a"].difference == pytest.approx(-np.arange(2, 12).mean() / 10)
    assert found["hd95"].difference == found["hd95/a"].difference  # a class that nobody has is in no mean
    assert math.isnan(found["hd95/b"].difference)
    assert math.isnan(found["hd95/b"].p)


def test_models_that_are_alike_have_p_1_and_no_interval() -> None:
    same = np.linspace(0, 1, 20)[:, None]
    found = paired_means(same, same, np.arange(20), {"dice": [0]})["dice"]
    assert (found.p, found.wilcoxon, found.difference) == (1, 1, 0)
    assert found.value.withheld == "the models differ in no patient"
    rounded = paired_means(same, same * (1 + 1e-10), np.arange(20), {"dice": [0]})["dice"]
    assert (rounded.p, rounded.difference) == (1, 0)
    shifted = paired_means(same, same + 0.1, np.arange(20), {"dice": [0]})["dice"]
    assert math.isnan(shifted.p)  # no spread to judge it by
    assert shifted.value.withheld == "all patients agree"
    assert math.isnan(wilcoxon_p(np.array([np.nan])))
