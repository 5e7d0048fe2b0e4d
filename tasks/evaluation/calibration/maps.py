"""Calibrations of one score: from a score in [0, 1] to the share of cases with it that have the finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

# Logarithms of scores stay finite: what a table says is 0 or 1 may be rounded.
_LEAST = 1e-30
_LEAST_REST = 1e-17  # next to 1 no number is nearer


def logarithms(score: FloatArray, rest: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Of a score and of what it lacks to 1; their difference is the logit.

    Args:
        score: any shape, in [0, 1].
        rest: 1 - score where it is known more exactly than a score next to 1 says; None = it is not.
    """
    least = _LEAST_REST if rest is None else _LEAST
    return np.log(np.maximum(score, _LEAST)), np.log(np.maximum(1 - score if rest is None else rest, least))


def expit(logit: FloatArray) -> FloatArray:
    """The share of a logit: 1 / (1 + exp(-x))."""
    small = np.exp(-np.abs(logit))
    share: FloatArray = np.where(logit >= 0, 1.0, small) / (1 + small)
    return share


@dataclass(frozen=True)
class LogitMap:
    """logit of the outcome = ``present`` ln s - ``absent`` ln(1 - s) + ``intercept``.

    Temperature T: both are 1 / T, no intercept. Platt: both are the slope. Beta calibration: each its own.
    """

    present: float
    absent: float
    intercept: float

    def __call__(self, score: FloatArray, rest: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Calibrated scores and what they lack to 1.

        Args:
            score: any shape, in [0, 1].
            rest: see :func:`logarithms`.
        """
        there, absent = logarithms(score, rest)
        logit = self.present * there - self.absent * absent + self.intercept
        return expit(logit), expit(-logit)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"present": self.present, "absent": self.absent, "intercept": self.intercept}


@dataclass(frozen=True)
class StepMap:
    """Shares at some scores, straight lines between them, and constant beyond the ends.

    Attributes:
        scores: rising.
        shares: not falling, in [0, 1].
    """

    scores: tuple[float, ...]
    shares: tuple[float, ...]

    def __call__(self, score: FloatArray, rest: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Calibrated scores and what they lack to 1; as in :class:`LogitMap`."""
        share: FloatArray = np.interp(score, self.scores, self.shares)
        return share, 1 - share

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"scores": list(self.scores), "shares": list(self.shares)}


ScoreMap: TypeAlias = LogitMap | StepMap


def map_from_dict(plain: Mapping[str, Any]) -> ScoreMap:
    """What :meth:`LogitMap.to_dict` or :meth:`StepMap.to_dict` gave.

    Raises:
        KeyError: it is neither.
    """
    if "scores" in plain:
        return StepMap(_numbers(plain["scores"]), _numbers(plain["shares"]))
    return LogitMap(float(plain["present"]), float(plain["absent"]), float(plain["intercept"]))


def _numbers(plain: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(number) for number in plain)
