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
from tests.datamodules.images_of_all_kinds import batches, specs


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_parts_as_stored_make_the_same_image(data: st.DataObject) -> None:
    spec = data.draw(specs())
    array = data.draw(batches(1 if len(spec.windows) > 1 else spec.channels, 1))[0]
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
