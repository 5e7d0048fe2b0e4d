"""95 % intervals by bootstrap over patients.

Patients are drawn with replacement, with all their cases: two scans of one patient are no two witnesses (cluster
bootstrap). The interval is the 2.5th to 97.5th percentile of the resampled metrics. Source: B. Efron and
R. J. Tibshirani, An Introduction to the Bootstrap, Chapman & Hall, 1993, chapters 8 and 13.

Ours, because ``scipy.stats.bootstrap`` draws cases, not patients, and has no weights.

A resample is a row of weights: how often each case was drawn. A statistic that takes weights computes the value itself
(all weights 1) and its resamples by the same lines, a block of resamples at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
# (B, n) weights -> name -> (B,) values, NaN where undefined.
Statistics = Callable[[FloatArray], dict[str, FloatArray]]

BLOCK_BYTES = 16 * 2**20  # of weights at once; the statistics need a few times as much beside them


class Interval(NamedTuple):
    """A value with the ends of its 95 % interval; NaN = undefined."""

    value: float
    low: float
    high: float


def group_cases(case_ids: pd.Series, patients: pd.Series | None) -> NDArray[np.intp]:
    """Number the patients that cases belong to.

    Args:
        case_ids: ``(n,)`` names of the cases.
        patients: ``(n,)`` patient of each case in the same order; NA = unknown, and the case stands for itself.

    Returns:
        ``(n,)`` group number of each case, 0..G-1, by first appearance.
    """
    if patients is None:
        return np.arange(len(case_ids), dtype=np.intp)
    if len(patients) != len(case_ids):
        raise ValueError(f"{len(patients)} patients for {len(case_ids)} cases")
    known = patients.notna().to_numpy()
    people, _ = pd.factorize(patients.astype("str").to_numpy())
    alone, _ = pd.factorize(case_ids.to_numpy())
    # Beyond the numbers of patients: patient "12" is apart from a case "12" without patient.
    numbers, _ = pd.factorize(np.where(known, people, len(people) + alone))
    return numbers.astype(np.intp)


def resample_weights(
    groups: NDArray[np.intp], resamples: int = 1000, seed: int = 0, block_bytes: int = BLOCK_BYTES
) -> Iterator[FloatArray]:
    """Draw groups with replacement, as many as there are, and say how often each case is in each resample.

    Args:
        groups: ``(n,)`` group number of each case, 0..G-1.
        resamples: how many.
        seed: of the draws; the weights do not depend on the size of the blocks.
        block_bytes: how large one block may be (at least one resample).

    Yields:
        ``(b, n)`` blocks of whole numbers >= 0, as floats because they go into matrix products.
    """
    generator = np.random.default_rng(seed)
    count = int(groups.max()) + 1 if len(groups) else 0
    rows = max(1, block_bytes // (8 * max(1, len(groups))))
    for start in range(0, resamples, rows):
        weights = np.zeros((min(rows, resamples - start), len(groups)))
        for row in weights:
            drawn = generator.integers(0, count, size=count) if count else np.zeros(0, dtype=np.int64)
            row[:] = np.bincount(drawn, minlength=count)[groups]
        yield weights


def bootstrap(
    statistics: Statistics, groups: NDArray[np.intp], resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Values of the statistics on the cases as they are, with 95 % percentile intervals over resampled groups.

    Resamples in which a value is undefined (no case of the class was drawn) are left out of its interval. With fewer
    than two groups nothing can be learned about the spread, and the interval is NaN.

    Args:
        statistics: maps ``(B, n)`` weights to named ``(B,)`` values.
        groups: ``(n,)`` group number of each case, see :func:`group_cases`.
        resamples: how many; 0 = no intervals.
        seed: of the draws.
    """
    values = {name: float(value[0]) for name, value in statistics(np.ones((1, len(groups)))).items()}
    blocks: dict[str, list[FloatArray]] = {name: [] for name in values}
    if len(groups) and groups.max() > 0:
        for weights in resample_weights(groups, resamples, seed):
            for name, block in statistics(weights).items():
                blocks[name].append(block)
    return {name: Interval(value, *_percentiles(value, blocks[name])) for name, value in values.items()}


def _percentiles(value: float, blocks: list[FloatArray]) -> tuple[float, float]:
    drawn = np.concatenate(blocks) if blocks else np.zeros(0)
    drawn = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not len(drawn):
        return math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
