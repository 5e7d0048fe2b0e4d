"""Voxels at the ends of what floats hold end in findings, never in a traceback."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from datamodules.checks.measures import RECORD, measure, picture_of
from datamodules.checks.plots import Numbers, bins
from datamodules.pictures.views import draw, stored_view
from datamodules.preprocess import Preprocess
from datamodules.types import Scan

any_float = st.floats(allow_nan=True, allow_infinity=True)


@given(arrays(np.float64, st.integers(0, 40), elements=any_float))
def test_every_number_is_in_one_bin(values: NDArray[np.float64]) -> None:
    found = bins(values)
    assert sum(found.counts) + found.strange == len(values)
    assert found.strange == int((~np.isfinite(values)).sum())
    assert found.edges == sorted(found.edges)
    assert len(found.edges) == (len(found.counts) + 1 if found.counts else 0)
    Numbers("", {"values": values}, "").markup()


@given(arrays(np.float32, (5, 6), elements=st.floats(width=32)))
def test_pictures_are_finite_and_keep_their_order(array: NDArray[np.float32]) -> None:
    grey = picture_of(array)
    assert np.isfinite(grey).all()
    assert draw(stored_view(array), 96).shape == (80, 96, 3)
    order = np.nan_to_num(array, posinf=0, neginf=0)
    assert (np.diff(grey.ravel()[np.argsort(order, axis=None)]) >= 0).all()


@given(arrays(np.float64, (6, 6), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_the_mean_lies_between_the_lowest_and_the_highest(array: NDArray[np.float64]) -> None:
    record = np.zeros(1, RECORD)[0]
    measure(Scan(array), record, lambda kind, detail: None, Preprocess(channels=1))
    low, mean, high = (float(record[name]) / 4 for name in ("low", "mean", "high"))  # their distances are finite
    slack = 1e-9 * max(abs(low), abs(high))
    assert low - slack <= mean <= high + slack
