"""Fitted calibrations against scikit-learn, a naive reference, and the rules that they must keep."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from scansuite.errors import SuiteError
from tasks.evaluation.calibration.calibration import METHODS, Calibration, Method, mean_calibration, read_method
from tasks.evaluation.calibration.dirichlet import solve
from tasks.evaluation.calibration.fitting import LEAST_ISOTONIC, fit_calibration
from tasks.evaluation.calibration.scored import Scored, finding, of_classes
from tests.tasks.evaluation.calibration.simulated import binary, multiclass


class Model:
    """A classifier for scikit-learn whose features are its logits."""

    def __init__(self, classes: int) -> None:
        self.classes_ = np.arange(classes)
        self.n_features_in_ = 1 if classes == 2 else classes

    def fit(self, x: object, y: object) -> Model:
        return self

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0] if len(self.classes_) == 2 else x

    def predict(self, x: np.ndarray) -> np.ndarray:
        return (x[:, 0] > 0).astype(int) if len(self.classes_) == 2 else x.argmax(axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> object:
        return LogisticRegression().__sklearn_tags__()


def of_sklearn(scored: Scored, method: str, logits: np.ndarray) -> np.ndarray:
    model = CalibratedClassifierCV(FrozenEstimator(Model(len(scored.names))), method=method)
    return model.fit(logits, scored.target).predict_proba(logits)  # type: ignore[no-any-return]


def fitted(scored: Scored, method: Method) -> Calibration:
    found = fit_calibration(scored, method)
    assert found.calibration is not None, found.said
    return found.calibration


@pytest.mark.parametrize(
    ("method", "name"), [("temperature", "temperature"), ("platt", "sigmoid"), ("isotonic", "isotonic")]
)
def test_two_classes_as_scikit_learn(method: Method, name: str) -> None:
    scored = binary(0, factor=3, shift=1)
    assert scored.scores is not None
    logits = logit(scored.scores[:, 1])
    ours = fitted(scored, method).apply(scored.scores)
    np.testing.assert_allclose(ours, of_sklearn(scored, name, logits[:, None]), atol=1e-6)


def test_temperature_of_several_classes_as_scikit_learn() -> None:
    scored = multiclass(1, factor=2.5)
    assert scored.scores is not None
    expected = of_sklearn(scored, "temperature", np.log(scored.scores))
    np.testing.assert_allclose(fitted(scored, "temperature").apply(scored.scores), expected, atol=1e-6)


@pytest.mark.parametrize(("method", "name"), [("platt", "sigmoid"), ("isotonic", "isotonic")])
def test_one_against_the_rest_as_scikit_learn(method: Method, name: str) -> None:
    scored = multiclass(2, patients=200, factor=2)
    assert scored.scores is not None
    expected = of_sklearn(scored, name, logit(scored.scores))
    np.testing.assert_allclose(fitted(scored, method).apply(scored.scores), expected, atol=1e-6)


def test_isotonic_of_a_label_as_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    score = generator.integers(0, 40, 300) / 40  # ties
    there = generator.random(300) < score**2
    labels = Scored("labels", ("a",), (finding("a", score, there, np.arange(300)),))
    expected = IsotonicRegression(out_of_bounds="clip").fit(score, there).predict(np.linspace(0, 1, 101))
    np.testing.assert_allclose(fitted(labels, "isotonic").apply_to("a", np.linspace(0, 1, 101)), expected, atol=1e-9)


def test_beta_as_a_logistic_regression_of_both_logarithms() -> None:
    scored = binary(4, patients=300, factor=0.6, shift=0.5)
    assert scored.scores is not None
    assert scored.target is not None
    score = scored.scores[:, 1]
    features = np.stack([np.log(score), -np.log(1 - score)], axis=1)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(features, scored.target)
    assert (reference.coef_ > 0).all()
    found = fitted(scored, "dirichlet")
    assert found.method == "beta"
    np.testing.assert_allclose(found.apply(scored.scores)[:, 1], reference.predict_proba(features)[:, 1], atol=1e-6)


def test_dirichlet_as_written_out() -> None:
    """Case by case with numerical gradients; far slower."""
    scored, penalty, size = multiclass(5, patients=20, classes=3), 0.05, 3
    assert scored.scores is not None
    assert scored.target is not None
    logs, target = np.log(scored.scores), scored.target

    def loss(flat: np.ndarray) -> float:
        matrix, shift = flat[:9].reshape(3, 3), flat[9:]
        total = 0.0
        for row, own in zip(logs, target, strict=True):
            z = [sum(matrix[i, j] * row[j] for j in range(size)) + shift[i] for i in range(size)]
            total += np.log(sum(np.exp(z))) - z[own]
        off = sum(matrix[i, j] ** 2 for i in range(size) for j in range(size) if i != j) / (size * (size - 1))
        return float(total / len(logs) + penalty * (off + (shift**2).sum() / size))

    matrix, shift = solve(logs, target, penalty)
    found = loss(np.concatenate([matrix.ravel(), shift]))
    start = np.concatenate([np.eye(3).ravel(), np.zeros(3)])
    reference = minimize(loss, start, method="BFGS", options={"gtol": 1e-6})
    assert found == pytest.approx(reference.fun, abs=1e-6)
    np.testing.assert_allclose(matrix, reference.x[:9].reshape(3, 3), atol=1e-3)


def test_dirichlet_mends_what_temperature_cannot() -> None:
    scored = multiclass(6, patients=400, classes=3)
    assert scored.scores is not None
    assert scored.target is not None
    assert scored.groups is not None
    shifted = softmax(np.log(scored.scores) + np.array([1.5, 0.0, -1.0]), axis=1)
    skewed = of_classes(shifted, scored.target, scored.groups, scored.names)
    rows = np.arange(len(shifted))
    methods: list[Method] = ["temperature", "dirichlet"]
    losses = {method: -np.log(fitted(skewed, method).apply(shifted)[rows, scored.target]).mean() for method in methods}
    assert losses["dirichlet"] < losses["temperature"] - 0.05
    assert losses["dirichlet"] < -np.log(scored.scores[rows, scored.target]).mean() + 0.01


KINDS = {"binary": binary(7, factor=2), "classes": multiclass(7, factor=2)}


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["binary", "classes"]), st.sampled_from(METHODS[1:]), st.integers(0, 2**32 - 1))
def test_rules_of_all_methods(kind: str, method: Method, seed: int) -> None:
    fit = fitted(KINDS[kind], method)
    assert Calibration.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit
    size = len(KINDS[kind].names)
    generator = np.random.default_rng(seed)
    scores = softmax(generator.normal(size=(20, size)) * generator.choice([0.1, 1, 30]), axis=1)
    scores[0], scores[1] = np.eye(size)[0], np.eye(size)[-1]  # what a table may say
    found = fit.apply(scores)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    if method == "temperature":  # of 20 cases none changes its call
        assert (found.argmax(axis=1) == scores.argmax(axis=1)).all()
    if kind == "binary":
        order = np.lexsort((-scores[:, 0], scores[:, 1]))  # next to 1 the other score has the digits
        assert (np.diff(found[order, 1]) >= -1e-15).all()


def test_a_fitted_temperature_is_the_one_that_was_missed() -> None:
    (own,) = fitted(binary(8, patients=3000, factor=3), "temperature").maps.values()
    assert own.to_dict()["present"] == pytest.approx(1 / 3, rel=0.1)


def test_what_is_not_fitted_says_why() -> None:
    def said(scored: Scored, method: Method = "temperature") -> str:
        found = fit_calibration(scored, method)
        assert found.calibration is None
        return " ".join(found.said)

    assert "validation has 9 patients, fewer than 10" in said(binary(0, patients=9))
    good = binary(0)
    assert good.scores is not None
    assert good.target is not None
    assert good.groups is not None
    alone = of_classes(good.scores, np.zeros_like(good.target), good.groups, good.names, 1)
    assert "validation has one class alone" in said(alone)
    few = of_classes(good.scores, (np.arange(len(good.target)) < 3).astype(np.intp), good.groups, good.names, 1)
    assert "of validation with it or without it, fewer than 5" in said(few, "platt")
    right = of_classes(good.scores, (good.scores[:, 1] > 0.5).astype(np.intp), good.groups, good.names, 1)
    methods: list[Method] = ["temperature", "dirichlet"]
    for method in methods:
        assert "told apart without a mistake" in said(right, method)
    wrong = of_classes(good.scores[:, ::-1], good.target, good.groups, good.names, 1)
    assert "at no temperature are they nearer to the truth" in said(wrong)
    assert "higher scores do not go with more findings" in said(wrong, "platt")
    assert fit_calibration(right, "none").said == ()
    several = multiclass(0, patients=8)
    methods = ["temperature", "dirichlet"]
    for method in methods:
        assert "validation has 8 patients" in said(several, method)


def test_isotonic_of_few_cases_is_platt() -> None:
    scored = binary(0, patients=40)
    assert scored.target is not None
    assert len(scored.target) < LEAST_ISOTONIC
    found = fit_calibration(scored, "isotonic")
    assert found.calibration == fitted(scored, "platt")
    assert f"{len(scored.target)} cases on validation, fewer than {LEAST_ISOTONIC}" in found.said[0]


def test_a_label_that_cannot_be_fitted_stays_as_it_is() -> None:
    generator = np.random.default_rng(0)
    score = generator.random(100)
    truth = {"common": generator.random(100) < expit(3 * logit(score)), "rare": np.arange(100) < 2}
    findings = tuple(finding(name, score, there, np.arange(100)) for name, there in truth.items())
    found = fit_calibration(Scored("labels", tuple(truth), findings), "platt")
    assert found.calibration is not None
    both = found.calibration.apply(np.stack([score, score], axis=1))
    assert (both[:, 1] == score).all()
    assert not np.allclose(both[:, 0], score)
    assert "the scores of rare stay as they are" in found.said[0]


def test_members_are_averaged() -> None:
    scored = multiclass(9, factor=2)
    assert scored.scores is not None
    one = fitted(scored, "temperature")
    mean = mean_calibration([one, None])
    assert mean is not None
    np.testing.assert_allclose(mean.apply(scored.scores), (one.apply(scored.scores) + scored.scores) / 2)
    assert Calibration.from_dict(json.loads(json.dumps(mean.to_dict()))) == mean
    assert mean_calibration([None, None]) is None


def test_mistakes() -> None:
    with pytest.raises(SuiteError, match="calibration 'temprature' is unknown: did you mean 'temperature'"):
        read_method("temprature")
    with pytest.raises(SuiteError, match="its calibration is damaged"):
        Calibration.from_dict({"method": "platt"})
    with pytest.raises(ValueError, match="for 4 classes"):
        fitted(KINDS["classes"], "temperature").apply(np.ones((3, 2)))
    nothing = fitted(KINDS["classes"], "temperature").apply(np.zeros((0, 4)))
    assert nothing.shape == (0, 4)
