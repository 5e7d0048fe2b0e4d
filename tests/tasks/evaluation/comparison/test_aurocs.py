"""Paired AUROCs against a published example, the definition pair by pair, and Obuchowski's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.classification.weighted_scores import rank
from tasks.evaluation.comparison.aurocs import auroc_difference, mean_auroc, paired_auroc
from tasks.evaluation.intervals.auroc import Auroc, clustered_auroc
from tasks.evaluation.intervals.quantiles import NORMAL
from tasks.evaluation.intervals.ratios import IntArray

# Outcome after subarachnoid haemorrhage of 41 patients (poor) and 72 (good): WFNS grade, and the rank of S100B.
# N. Turck and others, Intensive Care Medicine 36:107-115, 2010; X. Robin and others, BMC Bioinformatics 12:77, 2011.
WFNS = (
    "32455552521254425552525245441442255225555",
    "111151221221112121134141551124112212122111121211324214115422111312244111",
)
S100B = (
    "9 6 12 8 26 31 29 3 20 5 3 24 22 28 31 16 31 31 31 3 31 18 1 5 14 31 16 31 4 16 9 6 7 14 31 10 31 19 31 31 26",
    "9 10 6 2 27 13 6 6 2 4 2 5 7 3 13 3 7 9 13 2 12 10 21 5 30 27 12 3 25 27 7 4 5 4 2 9 6 10 11 2 2 5 2 5 4 12 5 4 "
    "20 7 17 3 6 19 3 2 15 23 6 11 4 10 6 3 2 13 11 27 13 11 30 28",
)


def area(score: FloatArray, truth: BoolArray, groups: IntArray | None = None) -> Auroc:
    own = np.arange(len(score)) if groups is None else groups
    return clustered_auroc(rank(score, truth, np.ones(len(score), dtype=bool)), own)


def test_the_published_example_of_proc() -> None:
    truth = np.arange(113) < 41
    wfns = area(np.array([int(cell) for side in WFNS for cell in side], dtype=np.float64), truth)
    s100b = area(np.array([int(cell) for side in S100B for cell in side.split()], dtype=np.float64), truth)
    assert (wfns.value, s100b.value) == pytest.approx((0.823678861788618, 0.731368563685637), abs=1e-12)
    change = auroc_difference(s100b, wfns)
    error = math.sqrt(change.variance)
    # pROC's roc.test: Z = 2.208984, p = 0.02717578, 95 % interval 0.01040618 to 0.17421442, with normal quantiles.
    assert change.value / error == pytest.approx(2.20898359144091, abs=1e-10)
    assert math.erfc(change.value / error / math.sqrt(2)) == pytest.approx(0.0271757822291882, abs=1e-10)
    ends = (change.value - NORMAL * error, change.value + NORMAL * error)
    assert ends == pytest.approx((0.0104061769564846, 0.174214419249478), abs=1e-10)
    # Ours has Student's t of 40 degrees in their place, and is a little wider.
    ours = paired_auroc([s100b], [wfns], 113)
    assert ours.method == "DeLong"
    assert ours.rests == 41
    assert 0.02717 < ours.p < 0.04
    assert ours.ends[0] < ends[0] < ends[1] < ours.ends[1]
    assert ours.ends == pytest.approx(ends, abs=0.004)


def scans(seed: int, patients: int = 14) -> tuple[FloatArray, FloatArray, BoolArray, IntArray]:
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), generator.integers(1, 4, patients)).astype(np.intp)
    truth = (generator.random(patients) < 0.5)[groups] & (generator.random(len(groups)) < 0.8)
    shared = generator.standard_normal(patients)[groups] + truth
    first, second = (np.round(shared + generator.standard_normal(len(groups)), 1) for _ in range(2))
    return first, second, truth, groups


def clustered(first: FloatArray, second: FloatArray, truth: BoolArray, groups: IntArray) -> float:
    """Var(A) + Var(B) - 2 Cov(A, B), the formulas of Biometrics 53:567-578, section 3, as they stand there."""

    def placements(score: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        x, y = score[truth], score[~truth]
        psi = (x[:, None] > y) + 0.5 * (x[:, None] == y)
        return psi.mean(), psi.mean(axis=1), psi.mean(axis=0)

    found = [placements(score) for score in (first, second)]
    of_x, of_y = groups[truth], groups[~truth]
    m, n, everybody = len(of_x), len(of_y), np.unique(groups)
    i10, i01, total = len(np.unique(of_x)), len(np.unique(of_y)), len(everybody)

    def sums(one: tuple[float, FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        value, v10, v01 = one
        a = np.array([(v10[of_x == patient] - value).sum() for patient in everybody])
        b = np.array([(v01[of_y == patient] - value).sum() for patient in everybody])
        return a, b

    def covariance(own: tuple[FloatArray, FloatArray], its: tuple[FloatArray, FloatArray]) -> float:
        s10 = i10 / ((i10 - 1) * m) * (own[0] @ its[0])
        s01 = i01 / ((i01 - 1) * n) * (own[1] @ its[1])
        s11 = total / (total - 1) * (own[0] @ its[1] + own[1] @ its[0]) / (m * n)
        return float(s10 / m + s01 / n + s11)

    a, b = sums(found[0]), sums(found[1])
    return covariance(a, a) + covariance(b, b) - 2 * covariance(a, b)


@pytest.mark.parametrize("seed", range(8))
def test_the_variance_of_a_difference_is_that_of_the_formulas(seed: int) -> None:
    first, second, truth, groups = scans(seed)
    change = auroc_difference(area(first, truth, groups), area(second, truth, groups))
    assert change.variance == pytest.approx(clustered(first, second, truth, groups), abs=1e-12)
    swapped = auroc_difference(area(second, truth, groups), area(first, truth, groups))
    assert (swapped.value, swapped.variance) == pytest.approx((-change.value, change.variance))


def test_pairing_takes_away_what_is_hard_for_both() -> None:
    first, second, truth, groups = scans(3, patients=60)
    one, two = area(first, truth, groups), area(second, truth, groups)
    assert auroc_difference(one, two).variance < 0.8 * (one.variance + two.variance)


def test_a_model_against_itself_has_no_difference_and_no_interval() -> None:
    first, _, truth, groups = scans(0, patients=30)
    one = area(first, truth, groups)
    same = paired_auroc([one], [one], len(first))
    assert (same.difference, same.p) == (0, 1)
    assert math.isnan(same.value.low)
    assert same.value.withheld == "the models differ in no patient"


def test_several_runs_are_their_mean() -> None:
    first, second, truth, groups = scans(5, patients=40)
    areas = [area(score, truth, groups) for score in (first, second)]
    mean = mean_auroc(areas)
    assert mean.value == pytest.approx((areas[0].value + areas[1].value) / 2)
    assert mean.variance < max(each.variance for each in areas)
    assert paired_auroc(areas, areas[::-1], len(first)).difference == pytest.approx(0, abs=1e-15)
    assert paired_auroc([areas[0]], areas, len(first)).difference == pytest.approx(
        (areas[1].value - areas[0].value) / 2
    )
