"""p-values of several tests adjusted by Holm's method, so that the chance of any false alarm stays what is stated.

It holds for tests that depend on one another in any way. Ours, because scipy has Benjamini and Hochberg's alone and
statsmodels is no dependency of the suite. Source: S. Holm, A simple sequentially rejective multiple test procedure,
Scandinavian Journal of Statistics 6:65-70, 1979.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """The adjusted p-values, ``(m,)`` in the order given.

    Args:
        p_values: ``(m,)`` 0..1; NaN = no test, which stays NaN and counts for none.
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted
