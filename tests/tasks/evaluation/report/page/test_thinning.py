"""Fewer points: the drawing is the same to less than a pixel, and no extreme is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.report.page.thinning import evenly, thin_dots, thin_line


@pytest.mark.parametrize("name", ["straight", "curve", "steps", "upright"])
def test_a_thinned_line_lies_on_the_line(name: str) -> None:
    x = np.linspace(0, 400, 100_000)
    y = {
        "straight": x / 2,
        "curve": 200 * (x / 400) ** 0.2,
        "steps": np.floor(x / 40) * 20,
        "upright": np.clip((x - 200) * 400, 0, 200),
    }[name]
    kept = thin_line(x, y, 2000)
    assert len(kept) < 1500
    assert kept[0] == 0
    assert kept[-1] == len(x) - 1
    # Within half a pixel along either axis: upright pieces move sideways.
    there = np.interp(x, x[kept], y[kept])
    aside = np.interp(x - 0.5, x[kept], y[kept]), np.interp(x + 0.5, x[kept], y[kept])
    near = (np.abs(there - y) < 0.6) | ((y >= aside[0] - 0.6) & (y <= aside[1] + 0.6))
    assert near.all()


def test_noise_keeps_its_extremes() -> None:
    generator = np.random.default_rng(0)
    x, y = np.linspace(0, 400, 200_000), generator.normal(100, 10, 200_000)
    y[77_777] = 0
    kept = thin_line(x, y, 2000)
    assert len(kept) <= 2000 + 4
    assert {77_777, int(y.argmax())} <= set(kept.tolist())


def test_what_lies_in_the_band_alone_is_kept() -> None:
    x, y = np.linspace(0, 400, 1000), np.full(1000, 100.0)
    low = y - 5
    low[500:505] = 20
    kept = thin_line(x, y, 2000, [low, y + 5])
    assert low[kept].min() == 20


def test_gaps_stay_gaps() -> None:
    x, y = np.linspace(0, 400, 5000), np.full(5000, 1.0)
    y[2000:2100] = np.nan
    kept = thin_line(x, y, 200)
    assert np.isnan(y[kept]).any()
    assert np.isfinite(y[kept][[0, -1]]).all()


@given(st.lists(st.tuples(st.floats(-500, 900), st.floats(-500, 900)), min_size=1, max_size=300), st.integers(2, 100))
@settings(max_examples=60, deadline=None)
def test_thinned_dots_keep_the_outline(points: list[tuple[float, float]], most: int) -> None:
    x, y = np.array(points).T
    kept = thin_dots(x, y, most)
    assert len(kept) <= most
    assert (np.diff(kept) > 0).all()
    if len(points) <= most:
        assert len(kept) == len(points)


def test_a_million_dots_keep_their_outlier() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(200, 20, 1_000_000), generator.normal(100, 10, 1_000_000)
    x[5], y[5] = 390, 5
    kept = thin_dots(x, y, 2000)
    assert 500 < len(kept) <= 2000
    assert 5 in kept


def test_evenly_has_both_ends() -> None:
    assert evenly(3, 10).tolist() == [0, 1, 2]
    assert evenly(101, 3).tolist() == [0, 50, 100]
