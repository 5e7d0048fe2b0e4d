"""Axes: any finite numbers have a place within the plot, and round ticks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.evaluation.report.page.scales import Scale, number_text, path_of, runs_of, scale_of

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)


@given(st.lists(NUMBERS, max_size=6), st.booleans())
@example([0.0, 5e-324], False)
@example([-1.7e308, 1.7e308], False)
@example([1e-300, 2e-300], True)
@example([1e-320, 1.7e308], True)
@example([3.0, 3.0], True)
@settings(max_examples=150, deadline=None)
def test_any_numbers_have_a_place_on_the_axis(values: list[float], log: bool) -> None:
    scale = scale_of([np.array(values)], 10, 110, log=log)
    places = scale.place(np.array(values))
    drawn = np.isfinite(values) & ((np.array(values) > 0) | (not scale.log))
    assert (np.isfinite(places) == drawn).all()
    assert ((places[drawn] >= 10 - 1e-6) & (places[drawn] <= 110 + 1e-6)).all()
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 12
    assert all(10 - 0.1 <= at <= 110 + 0.1 for at, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 100, ["0", "20", "40", "60", "80", "100"]),
        (0, 9, ["0", "2", "4", "6", "8"]),
        (-0.2, 0.4, ["-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3", "0.4"]),
        (0.9, 0.9001, ["0.90000", "0.90002", "0.90004", "0.90006", "0.90008", "0.90010"]),
    ],
)
def test_ticks_are_round(low: float, high: float, texts: list[str]) -> None:
    assert [text for _, text in Scale(low, high, 0, 100).ticks(6)] == texts


def test_logarithmic_ticks_are_powers_and_their_parts() -> None:
    assert [text for _, text in Scale(1, 1e6, 0, 100, log=True).ticks()] == [
        *("1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"),
    ]
    assert [text for _, text in Scale(0.1, 10, 0, 100, log=True).ticks()] == ["0.1", "0.2", "0.5", "1", "2", "5", "10"]
    assert Scale(1e-12, 1e12, 0, 100, log=True).ticks()[0] == (0.0, "10⁻¹²")


def test_a_place_on_a_logarithmic_axis_goes_by_decades() -> None:
    assert Scale(1, 1000, 0, 300, log=True).place(np.array([1.0, 10, 100, 0, -1])).tolist()[:3] == [0, 100, 200]


def test_the_ends_that_are_given_are_those_of_the_axis() -> None:
    scale = scale_of([np.array([0.3, 0.4])], 0, 1, (0, 1))
    assert (scale.low, scale.high) == (0, 1)
    scale = scale_of([np.array([0.3, 0.4])], 0, 1, (0, 1), log=True)
    assert 0 < scale.low <= 0.3
    assert scale.high == 1


def test_whole_numbers_have_whole_ticks() -> None:
    assert [text for _, text in scale_of([np.arange(1.0, 4)], 0, 100, margin=False).ticks()] == ["1", "2", "3"]
    assert [text for _, text in scale_of([np.array([0.0, 1])], 0, 100, margin=False).ticks()][1] == "0.2"


def test_numbers_are_short_and_whole_ones_whole() -> None:
    assert [number_text(value) for value in (12.0, 0.123456, 1e-9, math.nan, 1234567.0)] == [
        *("12", "0.1235", "1e-09", "undefined", "1.235e+06"),
    ]


def test_a_path_has_its_gaps() -> None:
    gap = np.array([0, 1.25, math.nan, 3, 4])
    assert path_of(gap, np.arange(5.0)) == "M0 0L1.2 1M3 3L4 4"
    assert runs_of(np.isfinite(gap)) == [slice(0, 2), slice(3, 5)]
