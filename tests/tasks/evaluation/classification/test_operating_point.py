from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from tasks.evaluation.classification.operating_point import choose_operating_point


def youden(target: np.ndarray, called: np.ndarray) -> float:
    return float(called[target == 1].mean() + (~called[target == 0]).mean() - 1)


@pytest.mark.parametrize("seed", range(10))
def test_youden_index_is_the_largest_on_the_roc_curve(seed: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.random(200) < 0.3
    score = np.round(np.clip(0.7 * generator.random(200) + 0.3 * target, 0, 1), 2)
    threshold = choose_operating_point(target, score)
    false_positives, sensitivity, _ = roc_curve(target, score)
    assert youden(target, score >= threshold) == pytest.approx((sensitivity - false_positives).max())
    assert threshold not in score


def test_a_float32_round_trip_through_text_flips_no_case() -> None:
    low = np.float32(0.3)
    score = np.array([low, np.nextafter(low, np.float32(1))])
    threshold = choose_operating_point([0, 1], score)
    back = np.array([float(f"{value:.9g}") for value in score])
    assert (back >= threshold).tolist() == [False, True]


@pytest.mark.parametrize("low", [1 - 2**-52, 1 - 2**-53, 0.5, 1e-300])
def test_scores_with_no_number_between_them_are_parted(low: float) -> None:
    """Their midpoint rounds to one of them, and that may be the lower."""
    score = np.array([low, np.nextafter(low, 1.0)])
    threshold = choose_operating_point([0, 1], score)
    assert (score >= threshold).tolist() == [False, True]


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken() -> None:
    # Below 0.2, 0.9 lie midpoints 0.15 and 0.55 with the same index.
    target = np.array([0, 1, 0, 1])
    score = np.array([0.1, 0.2, 0.9, 0.95])
    assert choose_operating_point(target, score) == pytest.approx(0.15)  # J = 0.5 at 0.15 and 0.925
    assert choose_operating_point(target, 1.1 - score[::-1]) == pytest.approx(0.175)
    assert choose_operating_point(1 - target[::-1], 1 - score[::-1]) == pytest.approx(0.85)


def test_unknown_targets_are_left_out() -> None:
    assert choose_operating_point([0, 1, np.nan, np.nan], [0.2, 0.6, 0.3, 0.5]) == pytest.approx(0.4)


def test_special_cases() -> None:
    assert math.isnan(choose_operating_point([1, 1], [0.2, 0.6]))
    assert math.isnan(choose_operating_point([0, np.nan], [0.2, 0.6]))
    assert math.isnan(choose_operating_point([], []))
    assert choose_operating_point([0, 1], [0.7, 0.7]) == 0.5
