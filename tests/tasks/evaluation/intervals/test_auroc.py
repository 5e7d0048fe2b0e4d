"""Clustered AUROC against Obuchowski's formulas written out pair by pair, and against DeLong's."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tasks.evaluation.classification.weighted_scores import rank
from tasks.evaluation.intervals.auroc import Auroc, auroc_interval, clustered_auroc
from tests.tasks.evaluation.intervals.clustered import Scans, scans


def measured(data: Scans) -> Auroc:
    return clustered_auroc(rank(data.score, data.truth, np.ones(len(data.score), dtype=bool)), data.groups)


def obuchowski(data: Scans) -> float:
    """Biometrics 53:567-578, 1997, section 2, as it stands there."""
    x, y = data.score[data.truth], data.score[~data.truth]
    of_x, of_y = data.groups[data.truth], data.groups[~data.truth]
    psi = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x])
    area, m, n = psi.mean(), len(x), len(y)
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    s10 = s01 = s11 = 0.0
    patients = sorted(set(data.groups.tolist()))
    for patient in patients:
        a = v10[of_x == patient].sum() - (of_x == patient).sum() * area
        b = v01[of_y == patient].sum() - (of_y == patient).sum() * area
        s10, s01, s11 = s10 + a * a, s01 + b * b, s11 + a * b
    i10, i01, every = len(set(of_x.tolist())), len(set(of_y.tolist())), len(patients)
    s10 *= i10 / ((i10 - 1) * m)
    s01 *= i01 / ((i01 - 1) * n)
    return s10 / m + s01 / n + 2 * s11 * every / (every - 1) / (m * n)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mixed", [True, False])
def test_value_and_variance_are_those_of_the_formulas(seed: int, mixed: bool) -> None:
    data = scans(seed, mixed=mixed)
    area = measured(data)
    assert area.value == pytest.approx(roc_auc_score(data.truth, data.score), abs=1e-12)
    assert area.variance == pytest.approx(obuchowski(data), abs=1e-12)
    assert (area.moves**2).sum() == pytest.approx(area.variance, rel=0.05)  # but for the factor of mixed patients


def test_cases_that_are_patients_of_their_own_give_delong() -> None:
    data = scans(3, decimals=3)
    alone = data._replace(groups=np.arange(len(data.score)))
    x, y = data.score[data.truth], data.score[~data.truth]
    psi = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    delong = psi.mean(axis=1).var(ddof=1) / len(x) + psi.mean(axis=0).var(ddof=1) / len(y)
    assert measured(alone).variance == pytest.approx(delong, abs=1e-12)
    repeated = Scans(np.repeat(alone.score, 3), np.repeat(alone.truth, 3), np.repeat(alone.groups, 3))
    factor = measured(repeated).variance / measured(alone).variance
    assert factor == pytest.approx(1, abs=1e-9)  # three copies of a case are one witness


def test_perfect_ranking_has_a_width_and_one_sided_tables_have_none() -> None:
    data = scans(0)
    perfect = measured(data._replace(score=data.truth.astype(np.float64)))
    low, high = auroc_interval(perfect)
    assert (perfect.value, high) == (1, 1)
    assert low < 0.75
    nothing = measured(data._replace(truth=np.zeros_like(data.truth)))
    assert math.isnan(nothing.value)
    assert np.isnan(auroc_interval(nothing)).all()
    assert nothing.with_positive == 0


def test_ends_lie_around_the_value_within_0_and_1() -> None:
    for seed in range(40):
        area = measured(scans(seed, patients=4 + seed % 9))
        low, high = auroc_interval(area)
        if not math.isnan(low):
            assert 0 <= low <= area.value <= high <= 1
            assert high > low


def test_many_scores_take_no_pairs() -> None:
    data = scans(0, patients=40_000, decimals=6)
    assert len(data.score) > 90_000
    start = time.process_time()
    assert 0.6 < measured(data).value < 0.9
    assert time.process_time() - start < 5  # pairs would be 10^9
