"""Conformal sets: those of MAPIE where each patient has one case, and coverage that holds with correlated scans."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.intervals.ratios import IntArray
from tasks.evaluation.uncertainty.conformal import fit_half_width, fit_sets, nonconformity, threshold
from tasks.evaluation.uncertainty.coverage import coverage_of_interval, coverage_of_sets, share_by_patient


def scores_of(seed: int, n: int, classes: int = 4) -> tuple[FloatArray, IntArray]:
    """Probabilities that are calibrated, and classes."""
    rng = np.random.default_rng(seed)
    score = rng.dirichlet(np.full(classes, 0.4), n)
    target = (rng.random((n, 1)) > np.cumsum(score, axis=1)).sum(axis=1)
    return score, np.minimum(target, classes - 1).astype(np.intp)


def alone(n: int) -> IntArray:
    return np.arange(n, dtype=np.intp)


def given_scores(classes: int | None = None) -> Any:
    """Scores (without ``classes`` numbers) that are given, as a fitted estimator of scikit-learn's kind."""
    base = pytest.importorskip("sklearn.base")
    kind = base.RegressorMixin if classes is None else base.ClassifierMixin
    known = {
        "fit": lambda self, x, y: self,
        "predict_proba": lambda self, x: np.asarray(x),
        "predict": lambda self, x: np.asarray(x)[:, 0] if classes is None else np.asarray(x).argmax(axis=1),
        "classes_": np.arange(classes or 1),
        "n_features_in_": classes or 1,
        "__sklearn_is_fitted__": lambda self: True,
    }
    return type("Given", (kind, base.BaseEstimator), known)()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_of_patients_with_one_case_each_sets_are_those_of_mapie(coverage: float) -> None:
    mapie = pytest.importorskip("mapie.classification")
    score, target = scores_of(0, 137)
    new, _ = scores_of(1, 300)
    ours = fit_sets(score, target, alone(137), coverage).predict(new)
    theirs = mapie.SplitConformalClassifier(
        given_scores(4), confidence_level=coverage, conformity_score="lac", prefit=True
    )
    theirs.conformalize(score, target)
    assert (ours == theirs.predict_set(new)[1][:, :, 0]).all()


def test_aps_scores_are_those_of_mapie_before_it_draws() -> None:
    """MAPIE takes a random part of the true class's own score off, so that its sets differ from draw to draw."""
    aps = pytest.importorskip("mapie.conformity_scores.sets.aps")
    score, target = scores_of(0, 137)
    expected, _ = aps.APSConformityScore.get_true_label_cumsum_proba(target, score, np.arange(4))
    np.testing.assert_allclose(nonconformity(score, "aps")[np.arange(137), target], expected[:, 0], rtol=1e-12)
    inside = fit_sets(score, target, alone(137), 0.1, "aps").predict(score)
    assert inside[np.arange(137), score.argmax(axis=1)].all()


def test_of_patients_with_one_case_each_intervals_are_those_of_mapie() -> None:
    mapie = pytest.importorskip("mapie.regression")
    rng = np.random.default_rng(0)
    predicted, true = rng.normal(0, 1, (2, 83))
    half = fit_half_width(predicted - true, alone(83), 0.9)
    theirs = mapie.SplitConformalRegressor(given_scores(), confidence_level=0.9, prefit=True)
    theirs.conformalize(predicted[:, None], true)
    ends = theirs.predict_interval(np.zeros((1, 1)))[1][0, :, 0]
    assert (-half, half) == pytest.approx(tuple(ends), rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1)), min_size=1, max_size=40), st.floats(0.05, 0.95))
def test_the_threshold_covers_as_many_patients_as_it_promises(cells: list[tuple[int, float]], coverage: float) -> None:
    groups = np.array([patient for patient, _ in cells], dtype=np.intp)
    scores = np.array([score for _, score in cells])
    patients = len(np.unique(groups))
    level = threshold(scores, groups, coverage)
    share = np.mean([np.mean(scores[groups == patient] <= level) for patient in np.unique(groups)])
    assert share * patients >= coverage * (patients + 1) - 1e-6 or level == math.inf
    assert (level == math.inf) == (coverage * (patients + 1) > patients + 1e-9)
    assert threshold(scores, groups, coverage, whole_patients=True) >= level


def test_repeated_scans_of_a_patient_promise_nothing_more() -> None:
    """The same scans ten times over: the threshold of the patients, not one of ten times as many witnesses."""
    scores, groups = np.random.default_rng(0).random(12), alone(12)
    assert threshold(np.tile(scores, 10), np.tile(groups, 10), 0.9) == threshold(scores, groups, 0.9)
    assert threshold(scores[:8], groups[:8], 0.9) == math.inf


def test_aps_sums_from_the_highest_score_down() -> None:
    score = np.array([[0.5, 0.2, 0.3]])
    np.testing.assert_allclose(nonconformity(score, "aps"), [[0.5, 1.0, 0.8]])
    np.testing.assert_allclose(nonconformity(score, "lac"), [[0.5, 0.8, 0.7]])


def correlated(rng: np.random.Generator, patients: int) -> tuple[FloatArray, IntArray]:
    """Errors of scans: patients with many scans are followed up, and easy; scans of a patient are alike."""
    hard = rng.random(patients) < 0.4
    scans = np.where(hard, 1, rng.integers(4, 9, patients))
    groups = np.repeat(np.arange(patients), scans).astype(np.intp)
    spread = np.where(hard, 3.0, 1.0)[groups]
    effect = 0.8 * rng.standard_normal(patients)[groups] + 0.6 * rng.standard_normal(len(groups))
    return spread * effect, groups


def test_coverage_holds_with_correlated_scans_and_by_scan_it_does_not() -> None:
    """Draws of 30 patients; a new patient's case is covered as often as stated."""
    rng = np.random.default_rng(0)
    new, of = correlated(rng, 20_000)
    weight = 1 / np.bincount(of)[of] / (of.max() + 1)
    by_patient: list[float] = []
    by_scan: list[float] = []
    for _ in range(300):
        error, groups = correlated(rng, 30)
        for found, people in ((by_patient, groups), (by_scan, alone(len(error)))):
            found.append(float(weight @ (np.abs(new) <= fit_half_width(error, people, 0.9))))
    assert np.mean(by_patient) >= 0.9 - 0.01
    assert np.mean(by_scan) < 0.87


def test_whole_patients_are_covered_as_often_as_stated() -> None:
    rng = np.random.default_rng(1)
    new, of = correlated(rng, 20_000)
    found = []
    for _ in range(200):
        error, groups = correlated(rng, 40)
        half = fit_half_width(error, groups, 0.9, whole_patients=True)
        found.append(float((np.bincount(of, np.abs(new) > half) == 0).mean()))
    assert np.mean(found) >= 0.9 - 0.01


def test_coverage_in_each_class_where_it_is_asked_for() -> None:
    """The second class is rare and badly told; together it is covered seldom, on its own as stated."""
    rng = np.random.default_rng(2)

    def draw(n: int) -> tuple[FloatArray, IntArray]:
        target = (rng.random(n) < 0.1).astype(np.intp)
        p = 1 / (1 + np.exp(-(1.5 * target + rng.normal(-2, 1, n))))
        return np.stack([1 - p, p], axis=1), target

    rare: dict[bool, list[float]] = {False: [], True: []}
    new, true = draw(20_000)
    for _ in range(40):
        score, target = draw(300)
        for by_class, found in rare.items():
            inside = fit_sets(score, target, alone(300), 0.9, by_class=by_class).predict(new)
            found.append(float(inside[true == 1, 1].mean()))
    assert np.mean(rare[True]) >= 0.89
    assert np.mean(rare[False]) < 0.8


def test_a_class_of_too_few_patients_is_in_every_set() -> None:
    score, target = scores_of(3, 100, 3)
    target[:] = np.where(target == 2, 0, target)
    target[:4] = 2
    inside = fit_sets(score, target, alone(100), 0.9, by_class=True).predict(score)
    assert inside[:, 2].all()


def test_what_is_said_of_sets() -> None:
    inside = np.array([[True, False], [True, True], [False, False], [False, True]])
    target = np.array([0, 1, 0, 0], dtype=np.intp)
    found = coverage_of_sets(inside, target, alone(4), 0.9, 50)
    assert found.reached.value == 0.5
    assert (found.size, found.single, found.empty, found.right_single) == (1.0, 0.5, 0.25, 0.5)
    # Two patients: one with a covered case of two, one with one covered.
    value, _ = share_by_patient(np.array([True, False, True]), np.array([0, 0, 1], dtype=np.intp))
    assert value.value == 0.75


def test_failed_coverage_is_told_from_chance() -> None:
    rng = np.random.default_rng(4)
    failed = {1.0: 0, 2.5: 0}
    for _ in range(60):
        error, groups = correlated(rng, 60)
        half = fit_half_width(error, groups, 0.9)
        for spread in failed:
            new, of = correlated(rng, 100)
            failed[spread] += coverage_of_interval(new * spread, half, of, 0.9, 60).failed
    assert failed[1.0] <= 3
    assert failed[2.5] >= 55


def test_many_labels_fail_by_chance_no_more_often_than_one() -> None:
    rng = np.random.default_rng(5)
    flags = {1: 0, 14: 0}
    for _ in range(400):
        # 40 patients of validation and 100 others, one case each: coverage of a label given validation is Beta.
        chance = rng.beta(37, 4, 14)  # the 37th of 40 scores
        covered = rng.random((100, 14)) < chance
        for tests, failed in flags.items():
            found = [
                coverage_of_sets(
                    np.stack([right, ~right], axis=1), np.zeros(100, dtype=np.intp), alone(100), 0.9, 40, tests
                ).failed
                for right in covered.T
            ]
            flags[tests] = failed + any(found)
    assert flags[14] <= 0.05 * 400 < flags[1]
