"""A fingerprint goes to a file and comes back as it was; spreads are what numpy says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.fingerprint.fingerprint import NOT_MEASURED, Fingerprint, Objects, Spread
from datamodules.fingerprint.order import spread_out
from datamodules.fingerprint.spreads import spread, spread_or_none

NUMBERS = st.floats(-1e300, 1e300)
SPREADS = st.builds(Spread, *[NUMBERS] * 5)
COUNTS = st.lists(NUMBERS, max_size=4).map(tuple)
PARTS = st.dictionaries(st.sampled_from(["train", "val", "test"]), st.integers(0, 10**9))
OBJECTS = st.builds(
    Objects,
    total=st.integers(0, 10**6),
    per_image=SPREADS,
    empty=st.floats(0, 1),
    short_side=SPREADS,
    long_side=SPREADS,
    side_mm=st.none() | SPREADS,
    share=st.none() | SPREADS,
    class_images=COUNTS,
    class_areas=st.lists(SPREADS, max_size=3).map(tuple),
)
FINGERPRINTS = st.builds(
    Fingerprint,
    task=st.sampled_from(["classify", "segment", "detect", "other"]),
    target=st.text(max_size=5),
    cases=PARTS,
    patients=PARTS,
    images_a_case=SPREADS,
    classes=st.lists(st.text(max_size=8), max_size=4).map(tuple),
    class_counts=COUNTS,
    slices=st.none() | SPREADS,
    spacing=COUNTS,
    spacings=st.lists(SPREADS, max_size=3).map(tuple),
    modality_from=st.text(max_size=20),
    intensities=st.none() | SPREADS,
    foreground_range=st.none() | st.tuples(NUMBERS, NUMBERS),
    objects=st.none() | OBJECTS,
    upright=st.booleans(),
)


@given(FINGERPRINTS)
def test_a_fingerprint_comes_back_from_its_file_as_it_was(fingerprint: Fingerprint) -> None:
    assert Fingerprint.from_json(fingerprint.to_json()) == fingerprint


@given(FINGERPRINTS)
def test_the_file_is_strict_json_in_which_spreads_have_names(fingerprint: Fingerprint) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    plain = json.loads(fingerprint.to_json(), parse_constant=refuse)
    assert set(plain["images_a_case"]) == {"least", "low", "median", "high", "most"}


@pytest.mark.parametrize(
    "text", ['{"task": "classify", "strange": 1}', "{}", "[]", '{"task": "segment", "objects": 3}']
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no fingerprint"):
        Fingerprint.from_json(text)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1))
def test_a_spread_is_finite_and_in_order_whatever_the_numbers(values: list[float]) -> None:
    found = spread(values)
    assert all(map(math.isfinite, found))
    assert list(found) == sorted(found)
    usable = [value for value in values if math.isfinite(value) and abs(value) <= 1e300]
    if len(usable) == len(values):
        assert found == tuple(np.quantile(values, (0, 0.05, 0.5, 0.95, 1)))
        assert (found.least, found.most) == (min(values), max(values))


def test_of_no_numbers_there_is_no_spread() -> None:
    assert spread([]) == spread([math.nan]) == NOT_MEASURED
    assert spread_or_none([]) is None


@given(st.integers(0, 3000), st.integers(1, 300))
def test_images_are_chosen_once_each_and_a_beginning_is_spread_over_all(length: int, most: int) -> None:
    order = spread_out(length, most)
    assert len(order) == min(length, most) == len(set(order.tolist()))
    assert set(order.tolist()) <= set(range(length))
    if length >= 64 and most >= 64:
        first = np.sort(order[:16])  # a quarter of the time must not mean the first quarter of the folder
        assert np.diff([0, *first, length - 1]).max() <= length / 4
