"""Fitting of a calibration on cases that the model did not train on: validation, or out of fold.

Each case counts once. Patients matter where something is chosen or refused: of how many the cases are, and the parts of
the cross-validation by which the penalty of Dirichlet calibration is found. Sources: C. Guo and others, On calibration
of modern neural networks, ICML 2017 (temperature); J. Platt, Probabilistic outputs for support vector machines,
Advances in Large Margin Classifiers, MIT Press, 1999; B. Zadrozny and C. Elkan, Transforming classifier scores into
accurate multiclass probability estimates, KDD 2002 (isotonic, one against the rest); M. Kull and others, Beta
calibration, AISTATS 2017; M. Kull and others, Beyond temperature scaling, NeurIPS 2019 (Dirichlet, with ODIR).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scansuite.words import number_of
from tasks.evaluation.calibration.calibration import Calibration, Method
from tasks.evaluation.calibration.dirichlet import fit_dirichlet
from tasks.evaluation.calibration.logistic import logistic
from tasks.evaluation.calibration.maps import FloatArray, LogitMap, ScoreMap, StepMap, expit, logarithms
from tasks.evaluation.calibration.scored import BoolArray, Finding, Scored
from tasks.evaluation.metric_values import LEAST_PATIENTS, LEAST_RESTS

# Isotonic regression has as many parameters as it finds steps: of fewer cases it learns the cases.
LEAST_ISOTONIC = 200
# 1 / temperature.
_COLDEST, _HOTTEST = 100.0, 0.01

_NO_MISTAKE = "validation is told apart without a mistake, so that no end is in sight"
_TOO_HOT = "at no temperature are they nearer to the truth than the same score for every case"
_NO_ORDER = "higher scores do not go with more findings there"


class _UnfitError(Exception):
    """Why a score cannot be calibrated."""


@dataclass(frozen=True)
class Fitted:
    """What came of a fitting.

    Attributes:
        calibration: None where nothing could be fitted: scores stay as they are.
        said: what a user has to know, a line each: what was not fitted, or fitted otherwise, and why.
    """

    calibration: Calibration | None
    said: tuple[str, ...] = ()


def fit_calibration(scored: Scored, method: Method) -> Fitted:
    """Fit a calibration.

    Args:
        scored: scores beside the truth, of cases that the model did not train on.
        method: ``none`` fits nothing. ``dirichlet`` of a single score, of two classes, labels and boxes, is beta
            calibration, which is the same of two classes.
    """
    if method == "none":
        return Fitted(None)
    if scored.kind == "classes" and method in ("temperature", "dirichlet"):
        return _joint(scored, method)
    maps: dict[str, ScoreMap] = {}
    said: list[str] = []
    by: set[str] = set()
    for finding in scored.findings:
        try:
            maps[finding.name], used = _fit_one(finding, method)
        except _UnfitError as error:
            of = f" of {finding.name}" if len(scored.findings) > 1 else ""
            said.append(f"calibration ({method}): the scores{of} stay as they are: {error}")
            continue
        by.add("beta" if used == "dirichlet" else used)
        if used != method and method == "isotonic":
            count = number_of(len(finding.score), "case" if scored.kind != "boxes" else "box").replace("boxs", "boxes")
            said.append(
                f"calibration (isotonic) of {finding.name}: {count} on validation, fewer than {LEAST_ISOTONIC}, teach "
                "no steps: Platt's is fitted"
            )
    if not maps:
        return Fitted(None, tuple(said))
    exclusive = scored.kind in ("binary", "classes")
    cases, patients = _counts(scored)
    fitted = Calibration(
        by.pop() if len(by) == 1 else method, scored.names, exclusive, maps, cases=cases, patients=patients
    )
    return Fitted(fitted, tuple(said))


def _counts(scored: Scored) -> tuple[int, int]:
    """Cases and patients."""
    groups = scored.groups
    if groups is not None:
        return len(groups), len(np.unique(groups))
    most = max(scored.findings, key=lambda one: len(one.score))
    return len(most.score), most.patients


def _joint(scored: Scored, method: Method) -> Fitted:
    """Of several exclusive classes together."""
    assert scored.scores is not None
    assert scored.target is not None
    assert scored.groups is not None
    patients, present = len(np.unique(scored.groups)), len(np.unique(scored.target))
    try:
        _enough(patients, None)
        if present < 2:
            raise _UnfitError("validation has one class alone")
        logs, size = logarithms(scored.scores)[0], len(scored.names)
        if method == "temperature":
            matrix, intercept = temperature_of_classes(logs, scored.target) * np.eye(size), np.zeros(size)
        else:
            matrix, intercept = fit_dirichlet(logs, scored.target, scored.groups)
    except _UnfitError as error:
        return Fitted(None, (f"calibration ({method}): the scores stay as they are: {error}",))
    rows = tuple(tuple(float(cell) for cell in row) for row in matrix)
    cases, _ = _counts(scored)
    shift = tuple(map(float, intercept))
    return Fitted(Calibration(method, scored.names, True, {}, rows, shift, cases, patients))


def _enough(patients: int, smaller: int | None) -> None:
    if patients < LEAST_PATIENTS:
        raise _UnfitError(f"validation has {number_of(patients, 'patient')}, fewer than {LEAST_PATIENTS}")
    if smaller is not None and smaller < LEAST_RESTS:
        raise _UnfitError(
            f"{number_of(smaller, 'patient')} of validation with it or without it, fewer than {LEAST_RESTS}"
            if smaller
            else "validation has one class alone"
        )


def _fit_one(finding: Finding, method: Method) -> tuple[ScoreMap, str]:
    """The map of one score, and the method that it is by."""
    _enough(finding.patients, finding.smaller)
    there, rest = logarithms(finding.score, finding.rest)
    if method == "temperature":
        sharpness = temperature_of_logits(there - rest, finding.there)
        return LogitMap(sharpness, sharpness, 0.0), method
    if method == "isotonic" and len(finding.score) >= LEAST_ISOTONIC:
        return fit_isotonic(finding.score, finding.there), method
    if method == "dirichlet":
        return fit_beta(there, rest, finding.there), method
    return fit_platt(there - rest, finding.there), "platt"


def temperature_of_logits(logit: FloatArray, there: BoolArray) -> float:
    """1 / temperature of greatest likelihood for one logit a case: ``(n,)`` each."""
    outcome = there.astype(np.float64)
    return _root(lambda sharpness: float(((expit(sharpness * logit) - outcome) * logit).sum()))


def temperature_of_classes(logs: FloatArray, target: np.ndarray) -> float:
    """1 / temperature of greatest likelihood.

    Args:
        logs: ``(n, K)`` logits, or logarithms of probabilities.
        target: ``(n,)`` class number.
    """
    own = logs[np.arange(len(logs)), target]

    def slope(sharpness: float) -> float:
        raised = np.exp(sharpness * (logs - logs.max(axis=1, keepdims=True)))
        mean = (raised * logs).sum(axis=1) / raised.sum(axis=1)
        return float((mean - own).sum())

    return _root(slope)


def _root(slope: Callable[[float], float]) -> float:
    """Where the slope of the loss, which rises with 1 / temperature, is 0."""
    from scipy.optimize import brentq  # here: what reads tables alone needs no scipy

    if slope(_HOTTEST) >= 0:
        raise _UnfitError(_TOO_HOT)
    if slope(_COLDEST) <= 0:
        raise _UnfitError(_NO_MISTAKE)
    return float(brentq(slope, _HOTTEST, _COLDEST, xtol=1e-13, rtol=1e-13))


def fit_platt(logit: FloatArray, there: BoolArray) -> LogitMap:
    """A slope and an intercept of the logit, towards Platt's targets, which keep a slope finite: ``(n,)`` each."""
    positives, negatives = int(there.sum()), int((~there).sum())
    outcome = np.where(there, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    fit = logistic(np.stack([logit, np.ones_like(logit)], axis=1), outcome)
    if fit is None or not fit.coefficients[0] > 0:
        raise _UnfitError(_NO_ORDER)
    slope, intercept = map(float, fit.coefficients)
    return LogitMap(slope, slope, intercept)


def fit_beta(there: FloatArray, absent: FloatArray, outcome: BoolArray) -> LogitMap:
    """Beta calibration: exponents of s and 1 - s, none below 0, and an intercept.

    Args:
        there: ``(n,)`` ln s.
        absent: ``(n,)`` ln(1 - s).
        outcome: ``(n,)``.
    """
    truth, ones = outcome.astype(np.float64), np.ones(len(there))
    both = logistic(np.stack([there, -absent, ones], axis=1), truth)
    if both is not None and (both.coefficients[:2] >= 0).all():
        return LogitMap(*map(float, both.coefficients))
    # One of the two would turn the order round: without it, as the authors do.
    for column, place in ((there, 0), (-absent, 1)):
        if both is not None and both.coefficients[place] < 0:
            continue
        one = logistic(np.stack([column, ones], axis=1), truth)
        if one is not None and one.coefficients[0] > 0:
            exponent, intercept = map(float, one.coefficients)
            return LogitMap(exponent if place == 0 else 0.0, exponent if place == 1 else 0.0, intercept)
    raise _UnfitError(_NO_MISTAKE if both is None else _NO_ORDER)


def fit_isotonic(score: FloatArray, there: BoolArray) -> StepMap:
    """Isotonic regression, ``(n,)`` each: the shares that do not fall with the score and are nearest to the truth."""
    from scipy.optimize import isotonic_regression

    levels, level, count = np.unique(score, return_inverse=True, return_counts=True)
    if len(levels) < 2:
        raise _UnfitError("all scores are the same")
    shares = np.bincount(level, there.astype(np.float64)) / count
    fitted = np.clip(isotonic_regression(shares, weights=count.astype(np.float64)).x, 0.0, 1.0)
    # Of a step its two ends are enough.
    inner = np.zeros(len(fitted), dtype=bool)
    inner[1:-1] = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    return StepMap(tuple(map(float, levels[~inner])), tuple(map(float, fitted[~inner])))
