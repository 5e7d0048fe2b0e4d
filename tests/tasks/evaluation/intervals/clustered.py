"""Scores and labels of scans that come in patients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.intervals.ratios import IntArray


class Scans(NamedTuple):
    """Of n scans."""

    score: FloatArray
    truth: BoolArray
    groups: IntArray


def scans(seed: int, patients: int = 12, decimals: int = 1, mixed: bool = True) -> Scans:
    """Scores with ties; with ``mixed`` a patient has scans with the finding and without."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), generator.integers(1, 5, patients))
    truth = (generator.random(patients) < 0.5)[groups]
    if mixed:
        truth &= generator.random(len(groups)) < 0.7
    effect = generator.standard_normal(patients)[groups] + generator.standard_normal(len(groups))
    return Scans(np.round(effect + truth, decimals), truth, groups.astype(np.intp))
