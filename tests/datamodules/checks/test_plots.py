"""Numbers of the page's plots: whole numbers are not torn apart, and each is counted once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datamodules.checks.plots import Pairs, bins


def test_few_whole_numbers_have_a_bin_each() -> None:
    found = bins(np.array([31, 31, 33, 40]))
    assert found.edges == [float(edge) for edge in range(31, 42)]
    assert found.counts == [2, 0, 1, 0, 0, 0, 0, 0, 0, 1]


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30))
def test_whole_numbers_lie_within_their_bins(values: list[int]) -> None:
    found = bins(np.array(values))
    assert sum(found.counts) == len(values)
    assert len(found.counts) <= 24
    assert found.edges[0] <= min(values) <= max(values) <= found.edges[-1]


def test_of_very_many_sizes_the_commonest_are_drawn() -> None:
    pairs = np.stack([np.arange(1, 1001), np.arange(1, 1001)], axis=1)
    markup = str(Pairs("Sizes", pairs, np.arange(1, 1001), ("width", "height")).markup())
    assert markup.count("<circle") == 400
    assert "1000 different ones; most often 1000 x 1000: 1000 times; the 600 rarest are not drawn" in markup
