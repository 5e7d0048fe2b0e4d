"""Risk-coverage curve and AURC against their definitions, written out case by case."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.uncertainty.risk_coverage import RiskCoverage, aurc, caught, risk_curve

CASES = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.9]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=6)


def naive(uncertainty: list[float], error: list[float]) -> FloatArray:
    """Risk at each number of kept cases, mean over all orders of equals."""
    orders = [
        order
        for order in itertools.permutations(range(len(error)))
        if all(uncertainty[a] <= uncertainty[b] for a, b in itertools.pairwise(order))
    ]
    risks = [[np.mean([error[i] for i in order[: k + 1]]) for k in range(len(error))] for order in orders]
    return np.asarray(np.mean(risks, axis=0), dtype=np.float64)


@given(CASES)
def test_risks_and_their_mean_are_those_of_the_definition(cells: list[tuple[float, float]]) -> None:
    uncertainty, error = (list(column) for column in zip(*cells, strict=True))
    curve = RiskCoverage(np.array(uncertainty), np.array(error))
    expected = naive(uncertainty, error)
    np.testing.assert_allclose(curve.risks, expected, atol=1e-12)
    assert curve.area == pytest.approx(expected.mean())
    assert curve.moves.sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("levels", [8, 1000])
def test_moves_are_those_of_cases_that_are_there_once_more(levels: int) -> None:
    """With ties and without, to the order of 1 / n."""
    rng = np.random.default_rng(0)
    uncertainty = rng.integers(0, levels, 400).astype(float)
    error = (rng.random(400) < 0.2 + 0.5 * uncertainty / levels).astype(float)
    curve = RiskCoverage(uncertainty, error)
    again = [
        400 * (RiskCoverage(np.append(uncertainty, uncertainty[i]), np.append(error, error[i])).area - curve.area)
        for i in range(400)
    ]
    assert np.corrcoef(again, curve.moves)[0, 1] > 0.995
    assert np.std(again) == pytest.approx(400 * np.std(curve.moves), rel=0.05)


def drawn(seed: int, n: int = 300, informative: bool = True) -> tuple[FloatArray, FloatArray, np.ndarray]:
    rng = np.random.default_rng(seed)
    uncertainty = rng.random(n)
    error = (rng.random(n) < (0.5 * uncertainty if informative else 0.25)).astype(np.float64)
    return uncertainty, error, np.repeat(np.arange(n // 3), 3).astype(np.intp)


def test_an_informative_order_lies_between_the_best_and_a_random_one() -> None:
    uncertainty, error, groups = drawn(0)
    curve = risk_curve(uncertainty, error, groups)
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx(error.mean())
    assert (curve.best <= curve.risk + 1e-12).all()
    assert curve.risk[: len(curve.risk) // 2].mean() < error.mean()
    area = aurc(uncertainty, error, groups)
    assert area.low < area.value < area.high
    assert area.high < error.mean()


def test_equal_uncertainty_is_a_random_order() -> None:
    _, error, groups = drawn(1)
    assert aurc(np.zeros(len(error)), error, groups).value == pytest.approx(error.mean())


def test_errors_among_the_most_uncertain_cases() -> None:
    uncertainty = np.arange(10.0)
    error = np.array([1, 0, 0, 0, 0, 0, 0, 1, 0, 1.0])
    count, share = caught(uncertainty, error, np.arange(10, dtype=np.intp), 0.3)
    assert count == 3
    assert share.value == pytest.approx(2 / 3)
    assert caught(uncertainty, error, np.arange(10, dtype=np.intp), 0.01)[0] == 1


def test_errors_may_be_numbers() -> None:
    rng = np.random.default_rng(2)
    uncertainty = rng.random(60)
    error = uncertainty * rng.exponential(2.0, 60)
    groups = np.arange(60, dtype=np.intp)
    area = aurc(uncertainty, error, groups, share=False)
    assert 0 < area.low < area.value < area.high
    assert np.isfinite(risk_curve(uncertainty, error, groups, share=False).high[-1])
