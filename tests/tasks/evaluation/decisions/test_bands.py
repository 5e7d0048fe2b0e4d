"""Curves against scikit-learn, and bands against the population that cases are drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import precision_recall_curve, roc_curve

from tasks.evaluation.decisions.bands import BandedCurve, froc, height_at, precision_recall, roc
from tasks.evaluation.decisions.findings import Finding
from tasks.evaluation.decisions.levels import MOST, box_levels, levels_of
from tasks.evaluation.detection.froc import build_froc, froc_points
from tests.tasks.evaluation.decisions.runs import box_run, finding


def goes_through(curve: BandedCurve, x: float, y: float) -> bool:
    """Whether a point lies on a curve, be it on a vertical stretch."""
    heights = curve.y[np.isclose(curve.x, x)]
    return len(heights) > 0 and bool(heights.min() - 1e-9 <= y <= heights.max() + 1e-9)


@pytest.mark.parametrize("decimals", [None, 1])
def test_roc_goes_through_the_points_of_scikit_learn(decimals: int | None) -> None:
    own = finding(1, decimals=decimals)
    curve = roc(levels_of(own))
    assert curve is not None
    x, y, _ = roc_curve(own.truth, own.score)
    assert all(goes_through(curve, *point) for point in zip(x, y, strict=True))
    # What is drawn beside them lies on the lines between them.
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(np.trapezoid(y, x), abs=1e-9)


@pytest.mark.parametrize("decimals", [None, 1])
def test_steps_of_precision_are_those_of_scikit_learn(decimals: int | None) -> None:
    own = finding(2, decimals=decimals)
    curve = precision_recall(levels_of(own))
    assert curve is not None
    precision, recall, _ = precision_recall_curve(own.truth, own.score)
    area = -np.sum(np.diff(recall) * precision[:-1])
    steps = np.sum(np.diff(curve.x) * curve.y[:-1])
    assert steps == pytest.approx(area, abs=1e-9)


def test_froc_goes_through_its_table() -> None:
    part = box_run().part("test")
    levels = box_levels(part.matches, part.patients)
    curve = froc(levels)
    assert curve is not None
    whole = build_froc(part.matches, part.patients, 0)
    rate, sensitivity, _ = (each[0] for each in froc_points(np.ones((1, len(part.cases))), whole))
    seen = (rate >= 1 / 16) & (rate <= 8)
    assert seen.sum() > 10
    assert all(goes_through(curve, *point) for point in zip(rate[seen], sensitivity[seen], strict=True))
    assert np.all(np.diff(curve.y) >= 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_band_holds_its_curve_and_has_a_width_everywhere(seed: int) -> None:
    own = finding(seed, patients=20, shift=4.0)  # told apart almost entirely: all resamples agree in the corner
    for curve in (roc(levels_of(own), 200), precision_recall(levels_of(own), 200)):
        assert isinstance(curve, BandedCurve)
        assert curve.low is not None
        assert curve.high is not None
        assert np.all(curve.low <= curve.y)
        assert np.all(curve.y <= curve.high)
        assert np.all(curve.high - curve.low > 0.02)
        assert curve.low.min() >= 0
        assert curve.high.max() <= 1


def test_too_few_patients_have_a_curve_without_a_band() -> None:
    curve = roc(levels_of(finding(0, patients=8)))
    assert curve is not None
    assert curve.low is None


def test_one_side_alone_has_no_curve() -> None:
    own = finding(0)
    alone = Finding("ill", own.score[own.truth], own.truth[own.truth], np.arange(own.truth.sum()))
    assert roc(levels_of(alone)) is None
    assert precision_recall(levels_of(Finding("x", own.score, ~own.truth & own.truth, own.groups))) is None


def test_equal_scores_are_the_diagonal() -> None:
    own = finding(0)
    curve = roc(levels_of(Finding("ill", np.full(len(own.score), 0.5), own.truth, own.groups)), 100)
    assert curve is not None
    np.testing.assert_allclose(curve.x, curve.y, atol=1e-12)


def test_many_scores_and_patients_are_merged_without_moving_the_curve() -> None:
    own = finding(3, patients=4000)
    levels = levels_of(own)
    assert levels.tp.shape[0] == MOST
    assert levels.tp.shape[1] <= MOST
    curve = roc(levels, 100)
    assert curve is not None
    x, y, _ = roc_curve(own.truth, own.score)
    at = np.linspace(0.01, 1, 31)
    assert np.abs(np.interp(at, curve.x, curve.y) - np.interp(at, x, y)).max() < 0.005


def coverage(simulations: int, patients: int = 60, shift: float = 1.81) -> tuple[np.ndarray, np.ndarray]:
    """Share of bands that hold the population's sensitivity, and the least width."""
    at = np.array([0.05, 0.1, 0.2, 0.4])
    truth = norm.cdf(shift + norm.ppf(at))
    held, width = np.zeros(len(at)), np.full(len(at), np.inf)
    for seed in range(simulations):
        generator = np.random.default_rng([seed, 7])
        groups = np.repeat(np.arange(patients), generator.integers(1, 5, patients)).astype(np.intp)
        there = (generator.random(patients) < 0.4)[groups]
        noise = (generator.standard_normal(patients)[groups] + generator.standard_normal(len(groups))) / np.sqrt(2)
        curve = roc(levels_of(Finding("ill", norm.cdf((noise + shift * there) / 3), there, groups)), 200)
        assert curve is not None
        low, high = np.array([height_at(curve, rate)[1:] for rate in at]).T
        held += (low <= truth) & (truth <= high)
        width = np.minimum(width, high - low)
    return held / simulations, width


def test_bands_hold_the_truth() -> None:
    held, width = coverage(60)
    assert np.all(held >= 0.87)  # 0.95 within three standard errors of 60
    assert np.all(width > 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("patients", [60, 150])
@pytest.mark.parametrize("shift", [1.19, 1.81, 2.48])
def test_bands_hold_the_truth_in_many_simulations(patients: int, shift: float) -> None:
    held, _ = coverage(500, patients, shift)
    assert np.all((held >= 0.925) & (held <= 0.99)), held


def test_few_patients_without_the_finding_have_a_curve_without_a_band() -> None:
    own = finding(0, patients=40)
    kept = own.truth | (own.groups < np.unique(own.groups[~own.truth])[3])
    groups = np.unique(own.groups[kept], return_inverse=True)[1]
    few = Finding("ill", own.score[kept], own.truth[kept], groups)
    assert (~few.truth).sum() > 0
    curve = roc(levels_of(few))
    assert curve is not None
    assert curve.low is None
