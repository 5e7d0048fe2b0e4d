"""Reliability and the parts of the Brier score against scikit-learn and the definition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from tasks.evaluation.calibration.figures import calibration_figures
from tasks.evaluation.calibration.reliability import brier_parts, reliability_of
from tasks.evaluation.calibration.scored import finding
from tasks.evaluation.intervals.share import wilson
from tests.tasks.evaluation.calibration.simulated import binary, multiclass


def test_the_curve_is_that_of_scikit_learn() -> None:
    (own,) = binary(0, factor=2).findings
    found = reliability_of(own)
    share, score = calibration_curve(own.there, own.score, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(found.share, share, atol=1e-12)
    np.testing.assert_allclose(found.score, score, atol=1e-12)
    assert found.cases.sum() == len(own.score)
    assert ((found.low <= found.share) & (found.share <= found.high)).all()
    assert (found.low < found.high).all()


def test_equal_scores_share_a_bin_and_few_cases_few_bins() -> None:
    score = np.repeat([0.1, 0.7], [90, 10])
    found = reliability_of(finding("a", score, score > 0.5, np.arange(100)))
    assert found.cases.tolist() == [90, 10]
    few = reliability_of(finding("a", np.linspace(0, 1, 24), np.arange(24) % 2 == 0, np.arange(24)))
    assert few.cases.tolist() == [12, 12]


def test_of_single_scans_the_interval_is_nearly_wilson_s() -> None:
    generator = np.random.default_rng(0)
    score = generator.random(4000)
    found = reliability_of(finding("a", score, generator.random(4000) < score, np.arange(4000)))
    for low, high, share, cases in zip(found.low, found.high, found.share, found.cases, strict=True):
        np.testing.assert_allclose([low, high], wilson(share, cases), atol=1e-3)


def test_the_parts_add_up_to_the_brier_score() -> None:
    (own,) = binary(1, factor=2).findings
    parts = brier_parts(own)
    assert parts.brier == pytest.approx(brier_score_loss(own.there, own.score))
    summed = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert summed == pytest.approx(parts.brier)
    assert parts.uncertainty == pytest.approx(own.there.mean() * (1 - own.there.mean()))


def test_of_few_different_scores_nothing_is_left_within_bins() -> None:
    """Murphy's three parts are then the whole; by hand."""
    generator = np.random.default_rng(2)
    score = generator.choice([0.1, 0.4, 0.8], 300)
    there = generator.random(300) < 0.9 * score
    parts = brier_parts(finding("a", score, there, np.arange(300)))
    reliability = resolution = 0.0
    for value in (0.1, 0.4, 0.8):
        own = score == value
        reliability += own.mean() * (value - there[own].mean()) ** 2
        resolution += own.mean() * (there[own].mean() - there.mean()) ** 2
    assert parts.reliability == pytest.approx(reliability)
    assert parts.resolution == pytest.approx(resolution)
    assert parts.within == pytest.approx(0, abs=1e-12)


def test_of_several_classes_brier_and_parts_are_sums() -> None:
    scored = multiclass(3)
    whole, by_class = calibration_figures(scored)
    assert whole is not None
    assert whole.brier.value == pytest.approx(sum(one.brier.value for one in by_class))
    assert whole.parts.brier == pytest.approx(whole.brier.value)
    assert whole.brier.low < whole.brier.value < whole.brier.high
