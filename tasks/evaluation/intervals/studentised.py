"""Studentised bootstrap by patient of means over cases, on the scale on which they are nearly normal.

A mean Dice is skewed: a few cases fail altogether, and in which draw they are makes both the mean and its error. So the
distribution of (mean - value) / error is read from resampled patients, where Student's t takes a symmetric one for
granted. Source: A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application, Cambridge University Press,
1997, section 5.2. The errors are those of ratios by patient, so that no draw is resampled in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.evaluation.bootstrap import resample_weights
from tasks.evaluation.classification.weighted import divide, mean_of_classes
from tasks.evaluation.intervals.ratios import FloatArray, Ratios
from tasks.evaluation.intervals.scales import Scale, scaled, student_interval
from tasks.evaluation.intervals.share import Ends

# Beyond it the two agree to the third digit, and draws cost time.
MOST_PATIENTS = 500
# Of the draws; fewer have an error above 0 where nearly all patients agree.
LEAST_DRAWS = 0.5


def mean_variance(ratios: Ratios, columns: Sequence[int]) -> tuple[float, float]:
    """Mean of some of the ratios that are defined, and its variance by patient.

    Args:
        ratios: of L columns.
        columns: numbers of those in the mean.
    """
    columns = [column for column in columns if ratios.units[column] > 0]
    value, moves = ratios.value[columns], ratios.moves[:, columns]
    if not columns:
        return np.nan, np.nan
    return float(value.mean()), float((moves.mean(axis=1) ** 2).sum())


def studentised_intervals(
    ratios: Ratios, means: Mapping[str, tuple[Sequence[int], Scale]], resamples: int, seed: int = 0
) -> dict[str, Ends]:
    """95 % intervals of means over columns; beyond :data:`MOST_PATIENTS` patients Student's.

    Args:
        ratios: of L columns.
        means: by name the columns (one, or classes with the same weight) and the scale.
        resamples: how many.
        seed: of the draws.
    """
    values = {name: mean_variance(ratios, columns) for name, (columns, _) in means.items()}
    drawn: dict[str, list[FloatArray]] = {name: [] for name in means}
    patients = len(ratios.whole)
    if 1 < patients <= MOST_PATIENTS:
        for weights in resample_weights(np.arange(patients), resamples, seed):
            draw = _Draw(ratios, weights)
            for name, (columns, scale) in means.items():
                drawn[name].append(draw.studentised(columns, scale, values[name][0]))
    found = {}
    for name, (columns, scale) in means.items():
        value, variance = values[name]
        known = np.concatenate(drawn[name]) if drawn[name] else np.zeros(0)
        known = known[np.isfinite(known)]
        if len(known) < LEAST_DRAWS * resamples or not variance > 0:
            found[name] = student_interval(value, variance, scale, ratios.fewest(columns))
        else:
            low, high = np.percentile(known, [2.5, 97.5])
            found[name] = scaled(value, float(np.sqrt(variance)), scale, (-float(high), -float(low)))
    return found


class _Draw:
    """Sums of a block of resamples."""

    def __init__(self, ratios: Ratios, weights: FloatArray) -> None:
        self._ratios, self._weights = ratios, weights
        self._units = weights @ ratios.whole
        self._value = divide(weights @ ratios.part, self._units)
        patients = weights @ (ratios.whole > 0)
        self._few = np.sqrt(divide(patients, patients - 1))

    def studentised(self, columns: Sequence[int], scale: Scale, value: float) -> FloatArray:
        """(mean - value) / error of each resample, on the scale; not finite where it has no error: ``(B,)``."""
        own = list(columns)
        mean = mean_of_classes(self._value[:, own])
        factor = divide(self._few[:, own], self._units[:, own])
        defined = (~np.isnan(factor)).sum(axis=1)
        factor = np.nan_to_num(factor)
        moves = factor @ self._ratios.part[:, own].T
        moves -= (factor * np.nan_to_num(self._value[:, own])) @ self._ratios.whole[:, own].T
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt((self._weights * moves**2).sum(axis=1)) / defined
            studentised: FloatArray = (scale.there(mean) - scale.there(np.array([value]))) / (error * scale.slope(mean))
        return np.where(error > 1e-9 * (1 + np.abs(mean)), studentised, np.nan)
