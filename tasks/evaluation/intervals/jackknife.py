"""Variance of figures by leaving out one patient at a time.

It takes any smooth figure that can be computed with weights, needs no random numbers for up to :data:`BLOCKS` patients,
and no class drops out of it as one does out of a bootstrap. More patients are left out block by block. Source: J. Shao
and D. Tu, The Jackknife and Bootstrap, Springer, 1995, sections 2.1 and 2.3.
"""

from __future__ import annotations

import numpy as np

from tasks.evaluation.bootstrap import BLOCK_BYTES, Statistics
from tasks.evaluation.intervals.ratios import FloatArray, IntArray

BLOCKS = 200


def jackknife(statistics: Statistics, groups: IntArray, blocks: int = BLOCKS, seed: int = 0) -> dict[str, float]:
    """Variance of each statistic; NaN where it is undefined without one of the patients.

    Args:
        statistics: maps ``(B, n)`` weights to named ``(B,)`` values.
        groups: ``(n,)`` patient number of each case, 0..G-1.
        blocks: most of them, two or more; patients are dealt out to so many at random where there are more.
        seed: of the dealing.
    """
    patients = int(groups.max()) + 1 if len(groups) else 0
    count = min(patients, blocks)
    block = np.random.default_rng(seed).permutation(patients) % count if patients > count else np.arange(patients)
    of_case = block[groups]
    rows = max(1, BLOCK_BYTES // (8 * max(1, len(groups))))
    parts: dict[str, list[FloatArray]] = {}
    for start in range(0, count, rows):
        left_out = np.arange(start, min(start + rows, count))
        weights = (of_case[None, :] != left_out[:, None]).astype(np.float64)
        for name, values in statistics(weights).items():
            parts.setdefault(name, []).append(values)
    return {name: _variance(np.concatenate(values)) for name, values in parts.items()}


def _variance(without: FloatArray) -> float:
    count = len(without)
    return float((count - 1) / count * ((without - without.mean()) ** 2).sum())
