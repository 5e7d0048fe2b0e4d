from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.opened_image import OpenedImage
from datamodules.preprocess import Preprocess
from datamodules.types import Scan
from scansuite.errors import SuiteError

TYPES = ("bool", "uint8", "int8", "uint16", "int16", ">u2", "int32", "float16", "float32", "float64")
SCALES: tuple[dict[str, Any], ...] = (
    {"windows": ((40.0, 400.0),)},
    {"percentiles": (1.0, 99.0)},
    {"value_range": (-10.5, 300.25)},
    {"value_range": (3.0, 250.0)},
)


@st.composite
def images(draw: st.DrawFn, channels: int) -> np.ndarray[Any, Any]:
    kind: np.dtype[Any] = np.dtype(draw(st.sampled_from(TYPES)))
    counts = {1: [0, 1, 2, 3, 4], 3: [0, 1, 2, 3, 4], 2: [2], 5: [5]}[channels]
    count = draw(st.sampled_from(counts))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)), *([count] if count else []))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    if kind.kind == "f":
        return rng.normal(50, 120, shape).astype(kind)
    low, high = (0, 1) if kind.kind == "b" else (max(np.iinfo(kind).min, -2000), min(np.iinfo(kind).max, 4000))
    return rng.integers(low, high + 1, shape).astype(kind)


@st.composite
def specs(draw: st.DrawFn) -> Preprocess:
    several = draw(st.booleans())
    size = draw(st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)))
    how: dict[str, Any] = {
        "size": size,
        "fit": draw(st.sampled_from(["stretch", "pad"])),
        "gamma": draw(st.sampled_from([1.0, 0.5])),
    }
    if several:
        return Preprocess(channels=2, windows=((40.0, 80.0), (-600.0, 1500.0)), **how)
    return Preprocess(channels=draw(st.sampled_from([1, 2, 3, 5])), **draw(st.sampled_from(SCALES)), **how)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_parts_as_stored_make_the_same_image(data: st.DataObject) -> None:
    spec = data.draw(specs())
    array = data.draw(images(1 if len(spec.windows) > 1 else spec.channels))
    whole = spec.image(array, "a.png")
    opened = spec.opened(Scan(array, {"path": "a.png"}))
    assert opened.stored.dtype in (np.uint8, np.uint16, np.int16, np.float32)
    assert opened.limits.dtype == np.float32
    # As a cache keeps it.
    again = OpenedImage(spec, np.array(opened.stored), np.array(opened.limits), opened.where)
    assert again.size == opened.size == whole.shape[:2]
    assert again.content_size == spec.content_size((array.shape[0], array.shape[1]))
    np.testing.assert_array_equal(again.tile(0, 0, *again.size), whole)
    top, left = (data.draw(st.integers(0, side - 1)) for side in whole.shape[:2])
    part = (top, left, data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))
    stored = again.stored_tile(*part)
    if stored is not None:
        assert stored.dtype == again.stored.dtype
        seen = spec.scaled(stored, again.limits, "a.png")
        np.testing.assert_array_equal(seen, again.tile(*part))
    else:  # there is filling, and no stored value is seen as 0
        assert spec.fills
        assert spec.darkest(again.stored, again.limits) is None


@pytest.mark.parametrize(
    ("array", "kind", "bytes_of_pixel"),
    [
        (np.zeros((4, 5), np.uint8), np.uint8, 1),
        (np.zeros((4, 5, 4), np.uint8), np.uint8, 3),
        (np.zeros((4, 5), ">i2"), np.int16, 2),
        (np.zeros((4, 5), np.int64), np.float32, 4),
    ],
)
def test_what_is_held_is_small(array: Any, kind: type[Any], bytes_of_pixel: int) -> None:
    opened = Preprocess(windows=((0.0, 100.0),), channels=3).opened(Scan(array))
    assert opened.stored.dtype == kind
    assert opened.stored.nbytes == 20 * bytes_of_pixel


def test_channels_without_a_rule_are_refused_when_an_image_is_opened() -> None:
    with pytest.raises(SuiteError, match=r"a\.png: has 5 channels, but the model takes 3"):
        Preprocess(channels=3).opened(Scan(np.zeros((4, 4, 5), np.uint8), {"path": "a.png"}))


def test_filling_is_dark_where_a_stored_value_is() -> None:
    spec = Preprocess(size=(4, 4), channels=1, fit="pad", windows=((40.0, 400.0),))
    opened = spec.opened(Scan(np.full((2, 4), 300, np.int16)))
    stored = opened.stored_tile(0, 0, 4, 4)
    assert stored is not None
    assert stored[2:].max() <= -160
    # No 8-bit value lies below the window.
    opened = spec.opened(Scan(np.full((2, 4), 200, np.uint8)))
    assert opened.stored_tile(0, 0, 4, 4) is None
    assert opened.stored_tile(0, 0, 2, 4) is not None
