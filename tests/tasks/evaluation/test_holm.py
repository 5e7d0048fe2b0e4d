"""Holm's adjustment against statsmodels, and its rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.holm import holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_it_is_that_of_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(0)
    for tests in range(1, 13):
        p_values = np.round(rng.random(tests) ** 3, 2)  # ties
        expected = multitest.multipletests(p_values, method="holm")[1]
        np.testing.assert_allclose(holm(p_values), expected, rtol=1e-12)


@given(P_VALUES)
def test_no_p_value_falls_and_their_order_stays(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_a_test_that_was_none_counts_for_none() -> None:
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    assert holm([]).shape == (0,)
