"""Quantiles of 95 % intervals."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

NORMAL = NormalDist().inv_cdf(0.975)


@lru_cache
def student(degrees: int) -> float:
    """Upper 2.5 % of Student's t.

    Args:
        degrees: of freedom, 1 or more.
    """
    from scipy.special import stdtrit  # here: what reads tables alone needs no scipy

    return float(stdtrit(degrees, 0.975))
