"""Slope, intercept and the test against statsmodels; what is flagged and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import chi2

from tasks.evaluation.calibration.figures import ALPHA, calibration_figures
from tasks.evaluation.calibration.scored import Finding, finding
from tasks.evaluation.calibration.slope import p_of_calibration, recalibration
from tasks.evaluation.intervals.quantiles import student
from tests.tasks.evaluation.calibration.simulated import binary, labels, multiclass


@pytest.mark.parametrize("seed", range(3))
def test_slope_and_intercept_as_statsmodels(seed: int) -> None:
    (own,) = binary(seed, patients=80, factor=1.5, shift=0.4).findings
    logit, outcome = np.log(own.score) - np.log(own.rest), own.there.astype(float)
    found = recalibration(own)
    both = sm.GLM(outcome, sm.add_constant(logit), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": own.groups}, tol=1e-12
    )
    large = sm.GLM(outcome, np.ones_like(logit), family=sm.families.Binomial(), offset=logit).fit(
        cov_type="cluster", cov_kwds={"groups": own.groups}, tol=1e-12
    )
    expected = [*zip(both.params, both.bse, strict=True), (large.params[0], large.bse[0])]
    for metric, (value, error) in zip((found.intercept, found.slope, found.in_the_large), expected, strict=True):
        assert metric.value == pytest.approx(value, abs=1e-6)
        assert metric.high - metric.value == pytest.approx(student(own.patients - 1) * error, abs=1e-6)
        assert metric.value - metric.low == pytest.approx(student(own.patients - 1) * error, abs=1e-6)
    assert found.off == pytest.approx(np.abs(both.fittedvalues - own.score).mean(), abs=1e-6)


def test_the_test_is_that_of_hotelling() -> None:
    (own,) = binary(0, patients=50).findings
    logit = np.log(own.score) - np.log(own.rest)
    added = np.zeros((own.patients, 2))
    for patient in range(own.patients):
        cases = own.groups == patient
        error = own.there[cases] - own.score[cases]
        added[patient] = error.sum(), (error * logit[cases]).sum()
    from statsmodels.stats.multivariate import test_mvmean

    by_patient = test_mvmean(added, np.zeros(2)).pvalue
    # That of independent cases, the score test of a logistic regression with both held, is smaller here.
    model = sm.GLM(own.there.astype(float), sm.add_constant(logit), family=sm.families.Binomial())
    slope, information = model.score(np.array([0.0, 1.0])), -model.hessian(np.array([0.0, 1.0]), observed=False)
    by_case = chi2.sf(slope @ np.linalg.solve(information, slope), 2)
    assert p_of_calibration(own) == pytest.approx(max(by_patient, by_case), abs=1e-9)
    assert by_case != pytest.approx(by_patient, abs=1e-3)


@pytest.mark.parametrize("middle", [0.0, -2.5])
def test_calibrated_models_are_not_flagged_and_miscalibrated_ones_are(middle: float) -> None:
    flagged = {
        factor: sum(
            figures.miscalibrated
            for seed in range(60)
            if (figures := calibration_figures(binary(seed, 150, factor, middle=middle), intervals=False)[0])
        )
        for factor in (1.0, 3.0)
    }
    assert flagged[1.0] <= 3
    assert flagged[3.0] >= 57


def test_of_several_classes_too() -> None:
    def flags(seed: int, factor: float) -> list[bool]:
        whole, by_class = calibration_figures(multiclass(seed, factor=factor), intervals=False)
        assert whole is not None
        return [whole.miscalibrated, *(one.miscalibrated for one in by_class)]

    assert sum(any(flags(seed, 1.0)) for seed in range(60)) <= 3
    assert sum(flags(seed, 3.0)[0] for seed in range(20)) == 20


def test_of_many_labels_rare_ones_among_them() -> None:
    def flagged(seed: int, factor: float) -> int:
        return sum(one.miscalibrated for one in calibration_figures(labels(seed, factor=factor), intervals=False)[1])

    assert sum(flagged(seed, 1.0) > 0 for seed in range(60)) <= 3
    assert min(flagged(seed, 3.0) for seed in range(5)) >= 5


@pytest.mark.parametrize(
    ("factor", "shift", "direction"),
    [(3.0, 0.0, "over-confident"), (0.3, 0.0, "under-confident"), (1.0, 1.5, "too high"), (1.0, -1.5, "too low")],
)
def test_the_direction_is_named(factor: float, shift: float, direction: str) -> None:
    figures, _ = calibration_figures(binary(1, 400, factor, shift))
    assert figures is not None
    assert figures.miscalibrated
    assert figures.direction == direction
    assert figures.adjusted < ALPHA


def test_confidence_of_several_classes() -> None:
    whole, by_class = calibration_figures(multiclass(1, 400, factor=3))
    assert whole is not None
    assert (whole.direction, len(by_class)) == ("over-confident", 4)
    whole, _ = calibration_figures(multiclass(1, 400, factor=0.4))
    assert whole is not None
    assert whole.direction == "under-confident"


def some(score: list[float], there: list[int]) -> Finding:
    return finding("a", np.array(score), np.array(there) == 1, np.arange(len(score)))


@pytest.mark.parametrize(
    ("own", "known"),
    [
        (some([0.5] * 12, [0, 1] * 6), "in_the_large"),  # all scores the same
        (some([0.2, 0.8] * 6, [0, 1] * 6), "in_the_large"),  # told apart without a mistake
        (some([0.2, 0.8] * 6, [1] * 12), ""),  # one class
        (some([0.0, 1.0, 1.0, 0.0] * 3, [0, 1, 0, 1] * 3), "in_the_large"),  # certain, and wrong
        (some([0.3], [1]), ""),
        (some([], []), ""),
    ],
)
def test_what_has_no_slope(own: Finding, known: str) -> None:
    found = recalibration(own)
    for name in ("intercept", "in_the_large"):
        if name == known:
            assert np.isfinite(getattr(found, name).value)
    if known == "":
        assert np.isnan(found.slope.value)
        assert np.isnan(found.in_the_large.value)
        assert np.isnan(found.off)
    assert np.isnan(found.p) or 0 <= found.p <= 1
