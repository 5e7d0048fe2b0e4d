"""Scores of patients with several scans whose outcomes are correlated, calibrated or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from scipy.stats import norm

from tasks.evaluation.calibration.scored import Scored, finding, of_classes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


def patients_of(generator: np.random.Generator, patients: int) -> IntArray:
    """Patient of each case: 1 to 4 scans a patient."""
    return np.repeat(np.arange(patients), generator.integers(1, 5, patients))


def chances(generator: np.random.Generator, groups: IntArray) -> FloatArray:
    """Uniform numbers, correlated by 0.5 within a patient: what is below a probability has the finding."""
    own = generator.normal(size=int(groups.max()) + 1)[groups]
    drawn: FloatArray = norm.cdf(np.sqrt(0.5) * own + np.sqrt(0.5) * generator.normal(size=len(groups)))
    return drawn


def binary(seed: int, patients: int = 100, factor: float = 1.0, shift: float = 0.0, middle: float = 0.0) -> Scored:
    """Two classes: scores whose logits are ``factor`` times the true ones, plus ``shift``."""
    generator = np.random.default_rng(seed)
    groups = patients_of(generator, patients)
    logit = middle + 1.2 * generator.normal(size=patients)[groups] + 1.2 * generator.normal(size=len(groups))
    there = chances(generator, groups) < expit(logit)
    score = expit(factor * logit + shift)
    return of_classes(np.stack([1 - score, score], axis=1), there.astype(np.intp), groups, ("a", "b"), 1)


def multiclass(seed: int, patients: int = 150, classes: int = 4, factor: float = 1.0) -> Scored:
    """Several classes."""
    generator = np.random.default_rng(seed)
    groups = patients_of(generator, patients)
    logits = 1.0 * generator.normal(size=(patients, classes))[groups] + generator.normal(size=(len(groups), classes))
    true = softmax(logits, axis=1)
    target = (chances(generator, groups)[:, None] > true.cumsum(axis=1)[:, :-1]).sum(axis=1)
    names = tuple(f"class {k}" for k in range(classes))
    return of_classes(softmax(factor * logits, axis=1), target, groups, names)


def labels(seed: int, patients: int = 150, count: int = 14, factor: float = 1.0) -> Scored:
    """Labels from rare (some 4 %) to common ones."""
    generator = np.random.default_rng(seed)
    groups, found = patients_of(generator, patients), []
    for number, middle in enumerate(np.linspace(-4.5, -0.5, count)):
        logit = middle + 1.2 * generator.normal(size=patients)[groups] + 1.2 * generator.normal(size=len(groups))
        there = chances(generator, groups) < expit(logit)
        found.append(finding(f"label {number}", expit(factor * logit), there, groups))
    return Scored("labels", tuple(one.name for one in found), tuple(found))
