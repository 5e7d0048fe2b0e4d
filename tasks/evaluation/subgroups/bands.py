"""Numbers in bands: ages in decades, all else between quantiles."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

LEAST_PATIENTS = 20  # of a decade; a smaller one at an end goes to its neighbour
FOUR_BANDS = 160  # patients, of whom four bands still have forty each
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_DICOM_AGE = re.compile(r"\s*(\d{3})([YMWD])\s*")


def read_numbers(cells: pd.Series) -> FloatArray | None:
    """A column as numbers, ``(n,)`` with NaN where a cell is empty; None where it is none of numbers.

    DICOM's ages (``053Y``, ``018M``) are years.
    """
    known = cells.notna().to_numpy()
    if pd.api.types.is_bool_dtype(cells.dtype):
        return None
    place, words = pd.factorize(cells[known])  # each word once: a column of text has few
    levels = pd.to_numeric(pd.Series(words), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if not np.isnan(levels).any():
        numbers = np.full(len(cells), np.nan)
        numbers[known] = levels[place]
        return np.where(np.isfinite(numbers), numbers, np.nan)
    found = [_DICOM_AGE.fullmatch(str(word)) for word in words]
    if not all(found):
        return None
    ages = np.full(len(cells), np.nan)
    ages[known] = np.array([float(age[1]) * _YEARS[age[2]] for age in found if age])[place]
    return ages


def is_age(column: str) -> bool:
    """Whether a column says by its name that it holds ages."""
    return "age" in re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", column).lower())


def decades(ages: FloatArray, patients: IntArray, least: int = LEAST_PATIENTS) -> tuple[IntArray, list[str]]:
    """Ages in bands of ten years; those at the ends are joined until they have patients enough.

    Args:
        ages: ``(n,)`` in years; NaN = not known.
        patients: ``(n,)`` patient number of each case.
        least: patients of a band at an end.

    Returns:
        ``(n,)`` number of the band, -1 = not known, and the names of the bands.
    """
    known = ~np.isnan(ages)
    if not known.any():
        return np.full(len(ages), -1, dtype=np.intp), []
    decade = np.floor(np.where(known, ages, 0.0) / 10).astype(np.intp)
    low, high = int(decade[known].min()), int(decade[known].max())

    def count(chosen: NDArray[np.bool_]) -> int:
        return len(np.unique(patients[chosen & known]))

    while low < high and count(decade <= low) < least:
        low += 1
    while high > low and count(decade >= high) < least:
        high -= 1
    names = [f"{10 * k} to {10 * k + 9}" for k in range(low, high + 1)]
    if low < high:
        if (decade[known] < low).any():
            names[0] = f"under {10 * (low + 1)}"
        if (decade[known] > high).any():
            names[-1] = f"{10 * high} and over"
    elif (decade[known] != low).any():
        names = ["all"]
    return _compact(np.where(known, np.clip(decade, low, high) - low, -1), names)


def quantile_bands(values: FloatArray, patients: IntArray) -> tuple[IntArray, list[str]]:
    """Numbers between quantiles: four bands, of fewer than :data:`FOUR_BANDS` patients three.

    Equal values are in one band, so that there may be fewer; of few whole numbers each is a band.

    Args:
        values: ``(n,)``; NaN = not known.
        patients: ``(n,)`` patient number of each case.

    Returns:
        As :func:`decades`.
    """
    known = ~np.isnan(values)
    levels = np.unique(values[known])
    if len(levels) <= 5:
        return np.where(known, np.searchsorted(levels, values), -1).astype(np.intp), [f"{v:g}" for v in levels]
    bands = 4 if len(np.unique(patients[known])) >= FOUR_BANDS else 3
    cuts = np.quantile(values[known], np.arange(1, bands) / bands, method="inverted_cdf")
    # A value at a cut is below it: `cut < value` is the next band.
    cuts = np.unique(cuts[cuts < levels[-1]])
    edges = [_edge(cut) for cut in cuts]
    names = [f"up to {edges[0]}"]
    names += [f"above {a} to {b}" for a, b in pairwise(edges)] + [f"above {edges[-1]}"]
    return _compact(np.where(known, np.searchsorted(cuts, values, side="left"), -1), names)


def halves(values: FloatArray) -> tuple[list[str], IntArray]:
    """Numbers up to their median and above it: names of the bands, and ``(n,)`` number of each, -1 = not known."""
    known = ~np.isnan(values)
    levels = np.unique(values[known])
    cut = np.quantile(values[known], 0.5, method="inverted_cdf")
    if cut == levels[-1] and len(levels) > 1:
        cut = levels[-2]
    return [f"up to {_edge(cut)}", f"above {_edge(cut)}"], np.where(known, values > cut, -1).astype(np.intp)


def _edge(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _compact(number: IntArray, names: list[str]) -> tuple[IntArray, list[str]]:
    """Without bands that no case is in."""
    there = np.unique(number[number >= 0])
    place = np.full(len(names) + 1, -1, dtype=np.intp)
    place[there] = np.arange(len(there))
    return place[number], [names[k] for k in there]
