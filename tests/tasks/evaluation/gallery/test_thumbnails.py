"""Thumbnails: the model's window and more, masks as transparent layers."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules.pictures.panels import class_colour
from datamodules.preprocess import Preprocess
from datamodules.types import Scan, ScanInfo
from tasks.evaluation.gallery.thumbnails import (
    MOST_SIDE,
    Thumbnail,
    class_legend,
    mask_picture,
    scan_thumbnail,
    telling_slice,
    thumbnail_size,
)


def pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(data)))


def shown(thumbnail: Thumbnail) -> NDArray[np.float64]:
    """The thumbnail with its window, 0..1, as a page draws it."""
    low, high = thumbnail.window
    return np.clip((pixels(thumbnail.data) / 255 - low) / (high - low), 0, 1)


def test_a_window_in_hu_shows_what_the_model_sees_and_half_as_much_on_each_side() -> None:
    array = np.linspace(-1000, 1500, 64 * 64).reshape(64, 64).astype(np.int16)
    spec = Preprocess(channels=1, windows=((40.0, 400.0),))
    made = scan_thumbnail(Scan(array), spec)
    assert made.size == (64, 64)
    assert made.suffix == ".png"
    assert made.units == pytest.approx((-160, 240))
    np.testing.assert_allclose(shown(made), spec.image(array, "x")[:, :, 0], atol=0.01)
    stored = -360 + pixels(made.data) / 255 * 800  # 40 - 400 ... 40 + 400
    inside = (array > -360) & (array < 440)
    assert abs(stored[inside] - array[inside]).max() < 800 / 255


def test_a_window_in_hu_is_the_same_in_dim_scans() -> None:
    array = np.linspace(-100, 0, 4096).reshape(64, 64).astype(np.int16)
    spec = Preprocess(channels=1, windows=((40.0, 400.0),))
    made = scan_thumbnail(Scan(array), spec)
    assert made.units == pytest.approx((-160, 240))
    np.testing.assert_allclose(shown(made), spec.image(array, "x")[:, :, 0], atol=0.01)
    assert np.ptp(pixels(made.data)) == 255  # all grey values are spent on what is there


def test_dim_scans_are_bright_at_first_and_ranges_end_where_the_values_do() -> None:
    array = np.zeros((40, 50), np.uint8)
    array[10:20] = 20
    made = scan_thumbnail(Scan(array), Preprocess(channels=1))
    assert pixels(made.data).max() == 255  # no grey value is spent on what is not there
    assert tuple(made.window) == (0, 1)
    assert made.units is None
    assert shown(made).max() == 1


@pytest.mark.parametrize(("kind", "most"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_colours_stay_colours(kind: str, most: int) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (30, 30, 3)).astype(np.float64)
    made = scan_thumbnail(Scan((array / 255 * most).astype(kind)), Preprocess(channels=3))
    assert pixels(made.data).shape == (30, 30, 3)
    np.testing.assert_allclose(pixels(made.data), array, atol=1)
    assert made.units is None


def test_grey_saved_as_colours_is_grey() -> None:
    array = np.repeat(np.arange(100, dtype=np.uint8).reshape(10, 10, 1), 3, axis=2)
    assert pixels(scan_thumbnail(Scan(array), Preprocess(channels=3)).data).shape == (10, 10)


@pytest.mark.parametrize("channels", [2, 5, 7])
def test_of_other_channels_the_middle_one_is_shown(channels: int) -> None:
    array = np.zeros((8, 8, channels), np.uint8)
    array[:4, :, 0 if channels == 2 else channels // 2] = 200
    made = scan_thumbnail(Scan(array), Preprocess(channels=1 if channels == 2 else channels))
    assert shown(made)[:4].min() == 1
    assert shown(made)[4:].max() == 0


def test_neighbouring_slices_are_no_colours() -> None:
    array = np.zeros((8, 8, 3), np.uint16)
    array[:, :4, 1] = 60000
    made = scan_thumbnail(Scan(array, ScanInfo(slice=3, alpha=False)), Preprocess(channels=3))
    assert pixels(made.data).ndim == 2
    assert shown(made)[:, :4].min() == 1


def test_several_windows_can_all_be_seen_and_the_first_is_shown_first() -> None:
    array = np.linspace(-1000, 500, 4096).reshape(64, 64).astype(np.float32)
    made = scan_thumbnail(Scan(array), Preprocess(channels=2, windows=((-600.0, 800.0), (40.0, 400.0))))
    assert made.units == pytest.approx((-1000, -200), abs=2)
    assert made.window == pytest.approx((0, 800 / 1240), abs=0.01)


def test_the_exponent_of_the_model_is_that_of_the_picture() -> None:
    array = np.linspace(0, 255, 4096).reshape(64, 64).astype(np.uint8)
    spec = Preprocess(channels=1, gamma=0.5)
    np.testing.assert_allclose(shown(scan_thumbnail(Scan(array), spec)), spec.image(array, "x")[:, :, 0], atol=0.01)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_one_value_alone_is_a_picture(value: int) -> None:
    made = scan_thumbnail(Scan(np.full((9, 9), value, np.uint8)), Preprocess(channels=1))
    assert made.window[0] < made.window[1]
    assert pixels(made.data).shape == (9, 9)


def test_large_scans_are_small_and_pixels_square() -> None:
    array = np.random.default_rng(0).integers(0, 255, (900, 1200)).astype(np.uint8)
    made = scan_thumbnail(Scan(array), Preprocess(channels=1), (2.0, 1.0))
    assert made.size == (384, 256)
    assert pixels(made.data).shape == made.size
    assert made.suffix == ".jpg"
    assert thumbnail_size((30, 40), None) == (30, 40)
    assert thumbnail_size((1, 5000), None) == (1, MOST_SIDE)
    assert thumbnail_size((10, 10), (0.0, 1.0)) == (10, 10)


def test_of_slides_rows_and_columns_are_left_out() -> None:
    array = np.zeros((7000, 5000, 3), np.uint8)
    array[3500:] = 200
    made = scan_thumbnail(Scan(array), Preprocess(channels=3))
    assert made.size == (384, 274)
    assert abs(pixels(made.data)[:190].astype(int)).max() < 10
    assert pixels(made.data)[194:].min() > 245  # grey: of all values that are there 200 is the brightest


def layer(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(data)).convert("RGBA"))


def test_a_mask_is_a_veil_with_a_contour_and_nothing_elsewhere() -> None:
    mask = np.zeros((48, 48), np.uint8)
    mask[12:36, 12:36] = 2
    made = layer(mask_picture(mask, 2, (48, 48)))
    assert made.shape == (384, 384, 4)
    assert (made[..., 3][np.kron(mask, np.ones((8, 8))) == 0] == 0).all()
    assert tuple(made[200, 200, :3]) == class_colour(1) == tuple(made[97, 97, :3])
    assert made[97, 97, 3] == 255 > made[200, 200, 3] > 0


def test_regions_overlap_unknown_is_grey_and_nothing_is_no_picture() -> None:
    regions = np.zeros((2, 20, 20), np.uint8)
    assert mask_picture(regions, 2, (20, 20), overlapping=True) == b""
    regions[0, :10], regions[1, 5:15] = 1, 1
    colours = {tuple(one) for one in layer(mask_picture(regions, 2, (20, 20), overlapping=True)).reshape(-1, 4)[:, :3]}
    assert {class_colour(0), class_colour(1)} <= colours
    unknown = np.zeros((20, 20), np.uint8)
    unknown[0] = 255
    made = layer(mask_picture(unknown, 1, (20, 20)))
    assert made[0, 0, 0] == made[0, 0, 1] == made[0, 0, 2] > 0
    many = np.arange(150, dtype=np.uint8).reshape(10, 15)
    assert layer(mask_picture(many, 200, (10, 15))).any()


def test_the_slice_of_the_truth_or_of_the_errors() -> None:
    truth, found = np.zeros((2, 6, 4, 4), np.uint8)
    truth[2, :2], found[2, :2], found[4, 0] = 1, 1, 1
    truth[5] = 255
    assert telling_slice(truth, found, errors=False) == 2
    assert telling_slice(truth, found, errors=True) == 4
    assert telling_slice(np.zeros_like(truth), found, errors=False) == 2
    assert telling_slice(np.zeros_like(truth), np.zeros_like(truth), errors=True) == 3
    regions: Any = np.stack([truth, np.zeros_like(truth)], axis=1)
    assert telling_slice(regions, np.zeros_like(regions), errors=True) == 2


def test_the_legend_has_the_colours_of_the_masks() -> None:
    assert class_legend(["a"]) == [("a", "#009e73")]
