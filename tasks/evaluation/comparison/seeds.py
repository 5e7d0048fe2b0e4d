"""Permutation test over trainings: is one configuration better than another beyond what seeds do?

Each run is one number, its metric; under the null hypothesis any deal of the runs to the two configurations was as
likely. The statistic is the chance that a run of the one is above a run of the other (ties half), as in picai_eval
(J. S. Bosma and others, github.com/DIAGNijmegen/picai_eval), so that the test is the exact one of Mann and Whitney
(Annals of Mathematical Statistics 18:50-60, 1947) with ties taken as they are. All deals are gone through where they
are few; by scipy.

What it says is about trainings on these data: cases are not drawn again. The paired differences say the other half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT_RUNS = 20  # of both configurations: 184,756 deals
DRAWS = 99_999


class SeedTest(NamedTuple):
    """p of the test over seeds.

    Attributes:
        p: NaN where a configuration has fewer than two runs.
        least: the smallest that so few runs can give.
        exact: all deals were gone through.
    """

    p: float
    least: float
    exact: bool


def seed_test(
    reference: Sequence[float],
    other: Sequence[float],
    alternative: Literal["two-sided", "greater"] = "two-sided",
    seed: int = 0,
) -> SeedTest:
    """Test whether the runs of two configurations differ.

    Args:
        reference: metric of each run of the first.
        other: of each run of the second.
        alternative: ``greater``: the second is above the first.
        seed: of the deals that are drawn where there are too many.
    """
    first, second = np.asarray(reference, dtype=np.float64), np.asarray(other, dtype=np.float64)
    total = len(first) + len(second)
    if min(len(first), len(second)) < 2 or np.isnan(first).any() or np.isnan(second).any():
        return SeedTest(math.nan, math.nan, False)
    from scipy.stats import permutation_test  # here: it is slow to import

    exact = total <= EXACT_RUNS
    found = permutation_test(
        (second, first),
        _chance_above,
        permutation_type="independent",
        vectorized=True,
        n_resamples=np.inf if exact else DRAWS,
        batch=2000,
        alternative=alternative,
        rng=np.random.default_rng(seed),
    )
    least = (1 if alternative == "greater" else 2) / math.comb(total, len(first)) if exact else 1 / (DRAWS + 1)
    return SeedTest(float(found.pvalue), min(1.0, least), exact)


def _chance_above(second: NDArray[np.float64], first: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Chance that a run of the second is above one of the first, ``(..., n)`` and ``(..., m)`` -> ``(...)``."""
    ours, theirs = np.moveaxis(second, axis, -1)[..., :, None], np.moveaxis(first, axis, -1)[..., None, :]
    chance: NDArray[np.float64] = ((ours > theirs) + 0.5 * (ours == theirs)).mean(axis=(-2, -1))
    return chance
