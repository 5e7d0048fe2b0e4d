from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.bootstrap import FloatArray, bootstrap, group_cases, resample_weights


def mean_of(values: FloatArray, weights: FloatArray) -> dict[str, FloatArray]:
    return {"mean": weights @ values / weights.sum(axis=1)}


def test_cases_without_patient_stand_for_themselves() -> None:
    cases = pd.Series(["1", "2", "3", "4", "5"])
    patients = pd.Series(["x", None, "x", "2", None], dtype="str")
    assert group_cases(cases, patients).tolist() == [0, 1, 0, 2, 3]  # patient "2" is not case "2"
    assert group_cases(cases, None).tolist() == [0, 1, 2, 3, 4]


def test_patients_are_drawn_whole_and_as_many_as_there_are() -> None:
    groups = np.array([0, 1, 0, 2, 2, 2])
    (weights,) = resample_weights(groups, 500)
    assert weights.shape == (500, 6)
    assert np.array_equal(weights, np.round(weights))
    assert np.array_equal(weights[:, 0], weights[:, 2])
    assert np.array_equal(weights[:, 3], weights[:, 5])
    assert np.array_equal(weights[:, [0, 1, 3]].sum(axis=1), np.full(500, 3.0))
    # Each patient is drawn once on average, and not at all with probability (2/3)^3.
    assert np.allclose(weights.mean(axis=0), 1, atol=0.12)
    assert abs((weights == 0).mean() - (2 / 3) ** 3) < 0.05


def test_blocks_do_not_change_the_draws() -> None:
    groups = np.arange(50) // 2
    (whole,) = resample_weights(groups, 33, seed=3)
    blocks = list(resample_weights(groups, 33, seed=3, block_bytes=10 * 50 * 8))
    assert [len(block) for block in blocks] == [10, 10, 10, 3]
    assert np.array_equal(np.concatenate(blocks), whole)
    assert not np.array_equal(next(resample_weights(groups, 33, seed=4)), whole)


def test_blocks_bound_the_memory() -> None:
    first = next(resample_weights(np.arange(100_000), 1000))
    assert first.nbytes <= 16 * 2**20


def test_interval_of_a_mean_has_the_textbook_width() -> None:
    values = np.random.default_rng(0).normal(10, 2, 400)
    interval = bootstrap(lambda weights: mean_of(values, weights), np.arange(400), 2000)["mean"]
    assert interval.value == pytest.approx(values.mean())  # sums differ with the CPU's width
    assert abs((interval.high - interval.low) / (2 * 1.96 * values.std() / 20) - 1) < 0.08
    assert abs((interval.high + interval.low) / 2 - interval.value) < 0.03


def test_undefined_resamples_are_left_out() -> None:
    def share_of_first(weights: FloatArray) -> dict[str, FloatArray]:
        drawn = weights[:, 0]
        return {"share": np.where(drawn > 0, drawn / weights.sum(axis=1), np.nan)}

    interval = bootstrap(share_of_first, np.arange(4), 500)["share"]
    assert interval.low == pytest.approx(0.25)  # never drawn is undefined, so the least is once in four
    assert interval.high >= 0.5


def test_no_interval_without_spread_to_learn_from() -> None:
    values = np.arange(5.0)
    for groups, resamples in ((np.zeros(5, dtype=np.intp), 100), (np.arange(5), 0)):
        interval = bootstrap(lambda weights: mean_of(values, weights), groups, resamples)["mean"]
        assert interval.value == pytest.approx(2)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
