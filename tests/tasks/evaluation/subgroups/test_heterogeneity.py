"""Cochran's Q and Welch's correction against statsmodels and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.intervals.ratios import IntArray, ratios
from tasks.evaluation.subgroups.heterogeneity import Heterogeneity, heterogeneity


def of_means(values: FloatArray, patient: IntArray, group: IntArray) -> Heterogeneity:
    """Test of the means of a number by group, from ratios by patient."""
    own = group[:, None] == np.arange(group.max() + 1)
    ratio = ratios(values[:, None] * own, own, patient)
    return heterogeneity(ratio.value, np.sqrt(ratio.variance), ratio.moves, ratio.patients)


def test_of_patients_in_one_group_each_it_is_cochrans_q_and_welchs_test() -> None:
    meta = pytest.importorskip("statsmodels.stats.meta_analysis")
    oneway = pytest.importorskip("statsmodels.stats.oneway")
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), (12, 25, 18, 40)).astype(np.intp)
    values = rng.normal(0.3 * group, 1 + group)
    found = of_means(values, np.arange(len(values), dtype=np.intp), group)
    parts = [values[group == k] for k in range(4)]
    effects = meta.combine_effects(
        np.array([part.mean() for part in parts]), np.array([part.var(ddof=1) / len(part) for part in parts])
    )
    assert found.q == pytest.approx(effects.q, rel=1e-9)
    assert found.p == pytest.approx(oneway.anova_oneway(parts, use_var="unequal").pvalue, rel=1e-9)


def test_of_the_same_patients_in_two_groups_it_is_the_paired_test() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(0, 1, 30)
    second = first + rng.normal(0.1, 0.3, 30)
    patient = np.tile(np.arange(30), 2).astype(np.intp)
    found = of_means(np.concatenate([first, second]), patient, np.repeat(np.arange(2), 30).astype(np.intp))
    paired = stats.ttest_rel(first, second)
    assert found.q == pytest.approx(paired.statistic**2, rel=1e-9)
    assert found.p == pytest.approx(paired.pvalue, rel=1e-6)


def test_of_fewer_than_two_groups_with_an_error_there_is_no_test() -> None:
    moves = np.ones((3, 2))
    rests = np.array([20, 20], dtype=np.intp)
    for errors in ([0.1, math.nan], [0.1, 0.0]):
        found = heterogeneity(np.array([0.5, 0.6]), np.array(errors), moves, rests)
        assert found.groups == 1
        assert math.isnan(found.p)


def test_groups_that_say_the_same_are_no_division_by_zero() -> None:
    moves = np.tile(np.linspace(-1, 1, 20)[:, None], (1, 2))
    rests = np.array([20, 20], dtype=np.intp)
    found = heterogeneity(np.array([0.5, 0.5]), np.array([0.1, 0.1]), moves, rests)
    assert found.q == 0
