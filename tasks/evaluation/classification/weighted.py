"""Classification and regression statistics that take case weights, for many sets of weights at once.

scikit-learn's take one set of weights a call: for 1000 resamples they are called 1000 times. They are the reference in
the tests.

Throughout: ``weights`` is ``(B, n)``, one row a resample (whole numbers >= 0; all ones gives the value itself);
columns ``L`` are classes seen one against the rest, or labels; results are ``(B,)`` or ``(B, L)``. Undefined = NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """The quotient, NaN where the denominator is zero."""
    quotient = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def mean_of_classes(values: FloatArray) -> FloatArray:
    """Mean over the last axis of what is defined; NaN where nothing is: ``(B, L)`` -> ``(B,)``."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))


@dataclass(frozen=True)
class Counts:
    """Weighted counts of calls against truth, each ``(B, L)``."""

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray


def count(weights: FloatArray, target: BoolArray, prediction: BoolArray, known: BoolArray) -> Counts:
    """Count calls.

    Args:
        weights: ``(B, n)``.
        target: ``(n, L)`` the case has the finding.
        prediction: ``(n, L)`` the model calls it.
        known: ``(n, L)`` the truth is known; other cells count nowhere.
    """

    def total(cells: BoolArray) -> FloatArray:
        return weights @ cells.astype(np.float64)

    return Counts(
        tp=total(target & prediction & known),
        fp=total(~target & prediction & known),
        fn=total(target & ~prediction & known),
        tn=total(~target & ~prediction & known),
    )


def rates(counts: Counts) -> dict[str, FloatArray]:
    """Sensitivity, specificity, precision (PPV), NPV and F1 of each column, ``(B, L)``.

    F1 is 2 tp / (2 tp + fp + fn): defined as soon as one case has the finding or is called. So is precision, which is 0
    where the finding is there and nothing is called: left out of a mean over classes, a class that is never called
    would raise it. NPV likewise, for the absence of the finding.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    return {
        "sensitivity": divide(tp, tp + fn),
        "specificity": divide(tn, tn + fp),
        "precision": predictive_value(tp, fp, fn),
        "npv": predictive_value(tn, fn, fp),
        "f1": divide(2 * tp, 2 * tp + fp + fn),
    }


def predictive_value(right: FloatArray, wrong: FloatArray, missed: FloatArray) -> FloatArray:
    """Share of the calls that are right: 0 without any call where something is missed, NaN where nothing is."""
    return np.where((right + wrong == 0) & (missed > 0), 0.0, divide(right, right + wrong))


def two_class_agreement(counts: Counts) -> dict[str, FloatArray]:
    """Accuracy, balanced accuracy, MCC and Cohen's kappa of each column, ``(B, L)``.

    Balanced accuracy is undefined unless both classes are there. For MCC and kappa see :func:`matthews` and
    :func:`cohen`.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    truth, called = np.stack([tp + fn, tn + fp], axis=-1), np.stack([tp + fp, tn + fn], axis=-1)
    return {
        "accuracy": divide(tp + tn, tp + fp + fn + tn),
        "balanced_accuracy": (divide(tp, tp + fn) + divide(tn, tn + fp)) / 2,
        "mcc": matthews(tp + tn, truth, called),
        "kappa": cohen(tp + tn, truth, called),
    }


def many_class_agreement(counts: Counts) -> dict[str, FloatArray]:
    """Accuracy, MCC and Cohen's kappa of the whole confusion matrix, ``(B,)``, from its one-against-the-rest counts."""
    right, truth, called = counts.tp.sum(axis=-1), counts.tp + counts.fn, counts.tp + counts.fp
    return {
        "accuracy": divide(right, truth.sum(axis=-1)),
        "mcc": matthews(right, truth, called),
        "kappa": cohen(right, truth, called),
    }


def matthews(right: FloatArray, truth: FloatArray, called: FloatArray) -> FloatArray:
    """Matthews correlation coefficient, for any number of classes.

    NaN where the truth is of one class; 0 where the truth has several and every call is the same: no better than
    chance. Source: J. Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient,
    Computational Biology and Chemistry 28:367-374, 2004; the 0: D. Chicco and G. Jurman, BMC Genomics 21:6, 2020.

    Args:
        right: ``(...)`` weight of right calls.
        truth: ``(..., K)`` weight of each true class.
        called: ``(..., K)`` weight of each called class.
    """
    total = truth.sum(axis=-1)
    spread_of_truth = total**2 - (truth**2).sum(axis=-1)
    spread_of_calls = total**2 - (called**2).sum(axis=-1)
    covariance = right * total - (truth * called).sum(axis=-1)
    value = divide(covariance, np.sqrt(spread_of_truth) * np.sqrt(spread_of_calls))
    return np.where((spread_of_truth > 0) & (spread_of_calls == 0), 0.0, value)


def cohen(right: FloatArray, truth: FloatArray, called: FloatArray) -> FloatArray:
    """Cohen's kappa; NaN where truth and calls are all of one and the same class. Arguments as in :func:`matthews`.

    Source: J. Cohen, A coefficient of agreement for nominal scales, Educ. Psychol. Meas. 20:37-46, 1960.
    """
    total = truth.sum(axis=-1)
    by_chance = (truth * called).sum(axis=-1)
    return divide(right * total - by_chance, total**2 - by_chance)


def quadratic_kappa(weights: FloatArray, target: NDArray[np.intp], prediction: NDArray[np.intp]) -> FloatArray:
    """Quadratic weighted kappa over class numbers, ``(B,)``; NaN where truth and calls are all of one same class.

    One minus the mean squared distance in classes over the one expected from the margins, which needs only their first
    and second moments. Source: J. Cohen, Weighted kappa, Psychological Bulletin 70:213-220, 1968.

    Args:
        weights: ``(B, n)``.
        target: ``(n,)`` true class number in class order.
        prediction: ``(n,)`` called class number.
    """
    truth, called = target.astype(np.float64), prediction.astype(np.float64)
    moments = weights @ np.stack([(truth - called) ** 2, truth, called, truth**2 + called**2], axis=1)
    total = weights.sum(axis=1)
    by_chance = moments[:, 3] * total - 2 * moments[:, 1] * moments[:, 2]
    return 1 - divide(moments[:, 0] * total, by_chance)


def regression_errors(weights: FloatArray, target: FloatArray, prediction: FloatArray) -> dict[str, FloatArray]:
    """Mean absolute error, root mean squared error (both in the target's unit) and R2, each ``(B,)``.

    R2 is undefined where all targets are the same.

    Args:
        weights: ``(B, n)``.
        target: ``(n,)``.
        prediction: ``(n,)``.
    """
    total = weights.sum(axis=1)
    error = target - prediction
    squares = weights @ error**2
    mean = divide(weights @ target, total)
    spread = np.array([row @ (target - centre) ** 2 for row, centre in zip(weights, mean, strict=True)])
    drawn = weights > 0
    highest = np.where(drawn, target, -np.inf).max(axis=1, initial=-np.inf)
    lowest = np.where(drawn, target, np.inf).min(axis=1, initial=np.inf)
    return {
        "mae": divide(weights @ np.abs(error), total),
        "rmse": np.sqrt(divide(squares, total)),
        # Rounding leaves a spread of 1e-30 around equal targets, so equality is asked of the targets themselves.
        "r2": 1 - divide(squares, np.where(highest > lowest, spread, 0.0)),
    }
