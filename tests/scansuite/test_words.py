"""Counts and numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.words import number_of, rounded


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2.84842, "2.85"),
        (0.00001234, "0.0000123"),
        (7.9995, "8"),
        (1427.3, "1427"),
        (100, "100"),
        (19, "19"),
        (0, "0"),
    ],
)
def test_three_digits_of_a_number_count(number: float, text: str) -> None:
    assert rounded(number) == text


@given(st.floats(1e-12, 1e12))
def test_a_rounded_number_has_no_exponent_and_is_near(number: float) -> None:
    text = rounded(number)
    assert "e" not in text.lower()
    assert float(text) == pytest.approx(number, rel=0.0051)


def test_one_thing_is_not_several() -> None:
    assert [number_of(count, "step") for count in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
