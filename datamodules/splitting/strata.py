"""Strata that a split spreads evenly: values of columns, and numbers by ranges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.ids import clean_ids
from scansuite.errors import SuiteError

NO_STRATUM = ("case_id", "patient_id", "path", "split")
_MOST_NUMBERS = 10  # that a column of numbers may hold to count value by value
_MOST_VALUES = 100
_RANGES = 5


def number_strata(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The stratum of each number: up to ten different numbers are strata of their own, more are put into ranges.

    A range holds a fifth of the cases. A number that fills a fifth by itself is a stratum of its own, and the ranges
    are of the others: in zero-inflated data the zeros are spread evenly, and so is what lies above them.

    Args:
        values: (N,); NaN is unknown.

    Returns:
        (N,) 0, 1, ...; -1 for NaN. The order of the cases does not matter.
    """
    strata = np.full(len(values), -1, dtype=np.int64)
    known = ~np.isnan(values)
    different, place, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if len(different) <= _MOST_NUMBERS:
        strata[known] = place
        return strata
    alone = counts * _RANGES >= len(place)
    others = np.repeat(different[~alone], counts[~alone])
    ranges = max(1, round(_RANGES * len(others) / len(place)))
    edges = np.quantile(others, np.arange(1, ranges) / ranges)
    number = np.searchsorted(edges, different)  # a number on an edge belongs below it
    number[alone] = ranges + np.arange(alone.sum())
    strata[known] = number[place]
    return strata


def column_strata(cases: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """Strata from columns of the case table: one for each value, and one for empty cells.

    Numbers count as :func:`number_strata` puts them together.

    Returns:
        (N, S) of 0 and 1; S is 0 without columns.

    Raises:
        SuiteError: no such column, or more than a hundred values that are no numbers.
    """
    known = [str(name) for name in cases.columns if name not in NO_STRATUM]
    parts = [np.zeros((len(cases), 0))]
    for column in columns:
        if column not in known:
            found = f"its columns are {', '.join(known)}" if known else "it has none to stratify by"
            raise SuiteError(f"--data.stratify {column}: no such column in the case table ({found})")
        values = cases[column]
        if pd.api.types.is_numeric_dtype(values):
            codes = number_strata(values.to_numpy(np.float64, na_value=np.nan))
        else:
            names = clean_ids(values)
            if names.nunique() > _MOST_VALUES:
                raise SuiteError(
                    f"--data.stratify {column}: {names.nunique()} different values cannot be spread evenly: at most "
                    f"{_MOST_VALUES}"
                )
            codes = pd.factorize(names, sort=True)[0]
        codes = np.where(codes < 0, codes.max() + 1, codes)  # empty cells
        parts.append((codes[:, None] == np.unique(codes)).astype(np.float64))
    return np.hstack(parts)
