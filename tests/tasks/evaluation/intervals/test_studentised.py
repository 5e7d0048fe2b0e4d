"""Means over cases: variance by patient, studentised draws, and what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.evaluation.intervals import studentised
from tasks.evaluation.intervals.ratios import Ratios, ratios
from tasks.evaluation.intervals.scales import LOGIT, PLAIN, scaled, student_interval
from tasks.evaluation.intervals.studentised import mean_variance, studentised_intervals


def two_classes(seed: int, patients: int = 25) -> tuple[Ratios, np.ndarray, np.ndarray]:
    """Values of cases in two columns, some undefined, and their patients."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), generator.integers(1, 4, patients))
    values = generator.beta(8, 2, (len(groups), 2))
    defined = generator.random(values.shape) < [0.9, 0.6]
    return ratios(np.where(defined, values, 0), defined, groups), np.where(defined, values, np.nan), groups


def plain(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Mean over the columns of the means over cases, and its variance, patient by patient."""
    means = np.nanmean(values, axis=0)
    moves = []
    for patient in np.unique(groups):
        own = values[groups == patient]
        moves.append(
            [np.nansum(own[:, k] - means[k]) / np.isfinite(values[:, k]).sum() for k in range(values.shape[1])]
        )
    for_few = [len(np.unique(groups[np.isfinite(values[:, k])])) for k in range(values.shape[1])]
    factor = np.sqrt([count / (count - 1) for count in for_few])
    return float(means.mean()), float(((np.array(moves) * factor).mean(axis=1) ** 2).sum())


def test_mean_and_variance_are_those_of_a_loop() -> None:
    ratio, values, groups = two_classes(0)
    assert mean_variance(ratio, [0, 1]) == pytest.approx(plain(values, groups))
    assert mean_variance(ratio, [1]) == pytest.approx(plain(values[:, 1:], groups))


def test_intervals_are_those_of_patients_drawn_one_by_one() -> None:
    ratio, values, groups = two_classes(1)
    found = studentised_intervals(ratio, {"mean": ([0, 1], LOGIT), "one": ([0], LOGIT)}, 40, seed=7)
    generator = np.random.default_rng(7)
    drawn: dict[str, list[float]] = {"mean": [], "one": []}
    own = {"mean": plain(values, groups), "one": plain(values[:, :1], groups)}
    for _ in range(40):
        patients = generator.integers(0, 25, size=25)
        rows = [np.flatnonzero(groups == patient) for patient in patients]
        again = np.concatenate([np.full(len(row), number) for number, row in enumerate(rows)])
        for name, columns in (("mean", slice(None)), ("one", slice(1))):
            mean, variance = plain(values[np.concatenate(rows)][:, columns], again)
            distance = math.log(mean / (1 - mean)) - math.log(own[name][0] / (1 - own[name][0]))
            drawn[name].append(distance / (math.sqrt(variance) / (mean * (1 - mean))))
    for name, distances in drawn.items():
        low, high = np.percentile(distances, [2.5, 97.5])
        expected = scaled(own[name][0], math.sqrt(own[name][1]), LOGIT, (-high, -low))
        assert found[name] == pytest.approx(expected, abs=1e-9)


def test_beyond_some_hundred_patients_it_is_students(monkeypatch: pytest.MonkeyPatch) -> None:
    ratio, _, _ = two_classes(2, 120)
    drawn = studentised_intervals(ratio, {"one": ([0], PLAIN)}, 2000)["one"]
    monkeypatch.setattr(studentised, "MOST_PATIENTS", 100)
    fixed = studentised_intervals(ratio, {"one": ([0], PLAIN)}, 2000)["one"]
    assert fixed == pytest.approx(student_interval(*mean_variance(ratio, [0]), PLAIN, int(ratio.patients[0])))
    assert drawn == pytest.approx(fixed, abs=0.1 * (fixed[1] - fixed[0]))


def test_agreement_and_absence() -> None:
    ones = np.ones((20, 2))
    present = ones * [1, 0]
    ratio = ratios(present, present, np.arange(20))
    found = studentised_intervals(ratio, {"both": ([0, 1], LOGIT), "absent": ([1], LOGIT)}, 50)
    assert found["both"][1] == 1
    assert 0.7 < found["both"][0] < 0.9  # an absent class is in no mean
    assert np.isnan(found["absent"]).all()
