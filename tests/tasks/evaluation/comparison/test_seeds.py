"""The test over trainings against Mann and Whitney's exact one, all deals gone through, and picai_eval's."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from tasks.evaluation.comparison.seeds import seed_test


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_exact_test_of_mann_and_whitney(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.random(4), generator.random(5) + 0.3
    found = seed_test(list(first), list(second))
    assert found.exact
    assert found.p == pytest.approx(mannwhitneyu(second, first, method="exact").pvalue)
    one_sided = seed_test(list(first), list(second), "greater")
    assert one_sided.p == pytest.approx(mannwhitneyu(second, first, alternative="greater", method="exact").pvalue)


def test_ties_are_taken_as_they_are() -> None:
    first, second = [0.8, 0.8, 0.81], [0.81, 0.82, 0.8]
    every = np.array(first + second)

    def chance(chosen: tuple[int, ...]) -> float:
        ours = every[list(chosen)]
        theirs = np.delete(every, list(chosen))
        return float(((ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)).mean())

    observed = chance((3, 4, 5))
    expected = np.mean([chance(each) >= observed - 1e-12 for each in itertools.combinations(range(6), 3)])
    assert seed_test(first, second, "greater").p == pytest.approx(expected)


def test_few_runs_cannot_give_a_small_p() -> None:
    found = seed_test([0.7, 0.71, 0.72], [0.9, 0.91, 0.92])
    assert found.p == pytest.approx(found.least) == pytest.approx(0.1)
    assert math.isnan(seed_test([0.7], [0.9, 0.91]).p)
    assert math.isnan(seed_test([0.7, math.nan], [0.9, 0.91]).p)


def test_many_runs_are_dealt_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.evaluation.comparison.seeds.DRAWS", 4999)
    generator = np.random.default_rng(0)
    first, second = generator.random(15), generator.random(15) + 0.2
    found = seed_test(list(first), list(second))
    assert not found.exact
    assert found.p == pytest.approx(mannwhitneyu(second, first, method="exact").pvalue, abs=0.03)
    assert found == seed_test(list(first), list(second))


@pytest.mark.slow
def test_it_is_that_of_picai_eval() -> None:
    reference = pytest.importorskip("picai_eval.statistical_helper", reason="picai_eval is not installed")
    for seed in range(3):
        generator = np.random.default_rng(seed)
        first, second = generator.random(5).round(1), (generator.random(4) + 0.2).round(1)
        expected = reference.perform_permutation_test(list(first), list(second))
        assert seed_test(list(first), list(second), "greater").p == pytest.approx(expected, abs=1e-12)
