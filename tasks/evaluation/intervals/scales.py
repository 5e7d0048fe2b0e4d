"""Student's interval on the scale on which a figure is nearly normal, so that no end leaves its range.

The standard error goes over by the delta method. Shares lie on the logit scale, agreement from -1 to 1 on Fisher's z,
what is not below 0 on that of logarithms, R2 on that of 1 - R2. Sources: L. Wasserman, All of Statistics, Springer,
2004, section 9.9; R. A. Fisher, Metron 1:3-32, 1921.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.intervals.quantiles import student
from tasks.evaluation.intervals.share import UNKNOWN, Ends, wilson


@dataclass(frozen=True)
class Scale:
    """A scale and its way back.

    Attributes:
        lowest: of the figure; -inf = none.
        highest: of the figure; inf = none.
        there: figure -> scale.
        back: scale -> figure.
        slope: how far the scale moves with the figure, at a figure.
    """

    lowest: float
    highest: float
    there: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    back: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    slope: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _expit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    half: NDArray[np.float64] = (1 + np.tanh(x / 2)) / 2
    return half


LOGIT = Scale(0, 1, lambda v: np.log(v) - np.log1p(-v), _expit, lambda v: 1 / (v * (1 - v)))
FISHER = Scale(-1, 1, np.arctanh, np.tanh, lambda v: 1 / (1 - v**2))
LOG = Scale(0, math.inf, np.log, np.exp, lambda v: 1 / v)
BELOW_ONE = Scale(-math.inf, 1, lambda v: -np.log1p(-v), lambda x: -np.expm1(-x), lambda v: 1 / (1 - v))
PLAIN = Scale(-math.inf, math.inf, lambda v: v, lambda x: x, np.ones_like)


def student_interval(value: float, variance: float, scale: Scale, patients: int) -> Ends:
    """Interval of a figure; NaN where nothing is known of its spread.

    Where all patients agree (the variance is 0, or the value is at an end of its range) and the range has two ends, it
    is Wilson's interval for as many patients, stretched over the range.

    Args:
        value: of the figure.
        variance: of the figure.
        scale: on which it is nearly normal.
        patients: that the variance rests on, two or more.
    """
    if patients < 2 or not math.isfinite(value) or not math.isfinite(variance):
        return UNKNOWN
    inside = scale.lowest < value < scale.highest
    if not inside or math.sqrt(variance) < 1e-9 * max(1.0, abs(value)):
        return agreement_interval(value, scale, patients)
    return scaled(value, math.sqrt(variance), scale, (-student(patients - 1), student(patients - 1)))


def scaled(value: float, error: float, scale: Scale, quantiles: tuple[float, float]) -> Ends:
    """Ends at quantiles of the standard error, on a scale: ``value`` lies between them."""
    at = np.array([value], dtype=np.float64)
    ends = scale.back(scale.there(at) + scale.slope(at) * error * np.array(quantiles))
    return min(value, float(ends[0])), max(value, float(ends[1]))


def agreement_interval(value: float, scale: Scale, patients: int) -> Ends:
    """Interval of a figure in which all patients agree; NaN on a scale without ends."""
    width = scale.highest - scale.lowest
    if patients < 2 or not math.isfinite(width):
        return UNKNOWN
    low, high = wilson(min(1.0, max(0.0, (value - scale.lowest) / width)), patients, student(patients - 1))
    return min(value, scale.lowest + width * low), max(value, scale.lowest + width * high)
