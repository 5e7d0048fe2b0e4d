"""Intervals on scales: textbook values, limits that are kept, figures in which all patients agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from tasks.evaluation.intervals.jackknife import jackknife
from tasks.evaluation.intervals.quantiles import student
from tasks.evaluation.intervals.scales import BELOW_ONE, FISHER, LOG, LOGIT, PLAIN, Scale, student_interval
from tasks.evaluation.intervals.smooth import scale_of, smooth_interval

SCALES = {"logit": LOGIT, "fisher": FISHER, "log": LOG, "below one": BELOW_ONE, "plain": PLAIN}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES.keys())
def test_slope_is_the_derivative_and_the_way_back_leads_back(scale: Scale) -> None:
    at = np.array([0.05, 0.4, 0.9])
    assert scale.back(scale.there(at)) == pytest.approx(at)
    step = 1e-6
    assert (scale.there(at + step) - scale.there(at - step)) / (2 * step) == pytest.approx(scale.slope(at), rel=1e-6)


def test_plain_scale_is_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 25)
    half = student(24) * values.std(ddof=1) / 5
    ends = student_interval(values.mean(), values.var(ddof=1) / 25, PLAIN, 25)
    assert ends == pytest.approx((values.mean() - half, values.mean() + half))


def test_fishers_z_is_near_scipys() -> None:
    generator = np.random.default_rng(1)
    x = generator.standard_normal(200)
    y = 0.6 * x + generator.standard_normal(200)
    reference = pearsonr(x, y)
    r = float(reference.statistic)
    ends = student_interval(r, (1 - r**2) ** 2 / 197, FISHER, 10_000)
    assert ends == pytest.approx(tuple(reference.confidence_interval()), abs=1e-4)


@given(st.sampled_from(sorted(SCALES)), st.floats(-0.99, 0.99), st.floats(1e-8, 0.4), st.integers(2, 500))
def test_ends_lie_around_the_value_within_the_range(name: str, value: float, variance: float, patients: int) -> None:
    scale = SCALES[name]
    if scale.lowest == 0:
        value = abs(value) + 1e-3
    low, high = student_interval(min(value, 0.999), variance, scale, patients)
    assert scale.lowest <= low <= min(value, 0.999) <= high <= scale.highest
    assert high > low


def test_agreement_of_all_patients_has_a_width_where_the_range_ends() -> None:
    low, high = student_interval(1.0, 0.0, LOGIT, 20)
    assert (high, 0.7 < low < 0.9) == (1, True)
    low, high = student_interval(0.5, 0.0, LOGIT, 20)
    assert low < 0.35 < 0.65 < high
    assert student_interval(-1.0, 0.0, FISHER, 20)[1] > -0.8
    assert np.isnan(student_interval(0.0, 0.0, LOG, 20)).all()  # a distance that is 0 in all: no end is known
    for bad in ((math.nan, 0.1, LOGIT, 20), (0.5, math.nan, LOGIT, 20), (0.5, 0.1, LOGIT, 1)):
        assert np.isnan(student_interval(*bad)).all()


def test_scales_by_name() -> None:
    assert [scale_of(name) for name in ("kappa/organ", "mcc@op", "hd95", "dice/a@b", "map@100")] == [
        FISHER, FISHER, LOG, LOGIT, LOGIT
    ]  # fmt: skip
    low, high = smooth_interval("squared_ece", -0.001, 1e-6, 50)
    assert low == 0
    assert high == pytest.approx(student(49) * 1e-3)
    assert np.isnan(smooth_interval("squared_ece/k", 0.0, 0.0, 50)).all()


def test_jackknife_of_a_mean_is_the_variance_by_patient() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(0, 1, 30)
    variance = jackknife(lambda weights: {"mean": weights @ values / weights.sum(axis=1)}, np.arange(30))["mean"]
    assert variance == pytest.approx(values.var(ddof=1) / 30)
    twice = np.repeat(values, 2)
    again = jackknife(lambda weights: {"mean": weights @ twice / weights.sum(axis=1)}, np.repeat(np.arange(30), 2))[
        "mean"
    ]
    assert again == pytest.approx(variance)


def test_many_patients_are_left_out_in_blocks() -> None:
    values = np.random.default_rng(3).normal(0, 1, 5000)
    rows = []

    def mean(weights: np.ndarray) -> dict[str, np.ndarray]:
        rows.append(weights)
        return {"mean": weights @ values / weights.sum(axis=1)}

    variance = jackknife(mean, np.arange(5000), blocks=100)["mean"]
    assert sum(len(block) for block in rows) == 100
    assert np.concatenate(rows).sum(axis=0).tolist() == [99.0] * 5000
    assert variance == pytest.approx(values.var(ddof=1) / 5000, rel=0.5)
    assert jackknife(mean, np.arange(5000), blocks=100)["mean"] == variance


def test_a_figure_that_hangs_on_one_patient_has_no_variance() -> None:
    def only(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"only": np.where(weights[:, 0] > 0, 1.0, np.nan)}

    assert math.isnan(jackknife(only, np.arange(10))["only"])
