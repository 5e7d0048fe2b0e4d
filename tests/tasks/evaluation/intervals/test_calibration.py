"""Squared calibration error: unbiased where the usual one is not, and by patient."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.classification.weighted_scores import calibration_error
from tasks.evaluation.intervals.calibration import SquaredError


def test_a_calibrated_model_has_none_on_average_and_the_usual_error_does() -> None:
    generator = np.random.default_rng(0)
    ones, known = np.ones((1, 200)), np.ones(200, dtype=bool)
    squared, usual = [], []
    for _ in range(400):
        chance = generator.random(200)
        right = generator.random(200) < chance
        squared.append(SquaredError(chance, right, known, np.arange(200))(ones)[0])
        usual.append(calibration_error(ones, chance, right, known)[0])
    assert abs(np.mean(squared)) < 3 * np.std(squared) / 20
    assert np.mean(usual) > 0.07
    assert np.mean(usual) ** 2 > 10 * abs(np.mean(squared))


def test_scans_of_one_patient_take_off_as_much_as_they_add() -> None:
    generator = np.random.default_rng(1)
    found = []
    for _ in range(400):
        chance = np.repeat(generator.random(60), 3)
        right = np.repeat(generator.random(60), 3) < chance
        found.append(
            SquaredError(chance, right, np.ones(180, dtype=bool), np.repeat(np.arange(60), 3))(np.ones((1, 180)))
        )
    assert abs(np.mean(found)) < 3 * np.std(found) / 20


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_copies_of_patients(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(20), 3)
    chance, known = generator.random(60).round(2), generator.random(60) < 0.9
    right = generator.random(60) < chance
    counts = generator.integers(0, 3, 20)
    rows = np.concatenate([np.flatnonzero(groups == patient) for patient in range(20) for _ in range(counts[patient])])
    again = np.concatenate([np.full(3, number) for number in range(counts.sum())])
    weighted = SquaredError(chance, right, known, groups)(counts[groups][None].astype(np.float64))
    copied = SquaredError(chance[rows], right[rows], known[rows], again)(np.ones((1, len(rows))))
    assert weighted == pytest.approx(copied)
