"""Views of cases: what is drawn where, of images and volumes of every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datamodules.pictures.panels import UNKNOWN, class_colour
from datamodules.pictures.views import View, as_seen, as_shown, draw, draw_together, stored_view, volume_views

GREY = np.full((40, 60), 100, np.uint8)


def colours(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}


def test_classes_have_their_contours_and_what_is_left_out_is_grey() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:20, 5:20], mask[5:20, 30:50], mask[30:, :] = 1, 3, 255
    view = stored_view(GREY).with_mask(mask, 3)
    assert view.classes() == [0, 2]
    picture = draw(view, 120)
    assert picture.shape == (80, 120, 3)
    assert tuple(picture[10, 20]) == class_colour(0)
    assert tuple(picture[10, 99]) == class_colour(2)
    assert class_colour(1) not in colours(picture)
    assert np.abs(picture[70, 60].astype(int) - UNKNOWN).max() < np.abs(picture[50, 60].astype(int) - UNKNOWN).max()


def test_regions_may_overlap_and_a_mask_without_a_count_has_the_classes_it_shows() -> None:
    regions = np.zeros((2, 40, 60), np.uint8)
    regions[0, :20], regions[1, 10:30] = 1, 1
    assert stored_view(GREY).with_mask(regions, separate=True).classes() == [0, 1]
    assert stored_view(GREY).with_mask(np.full((40, 60), 2, np.uint8)).classes() == [1]


def test_boxes_have_the_colour_of_their_class_where_the_image_says() -> None:
    view = replace(stored_view(GREY), boxes=np.array([[10.0, 10, 30, 20], [40, 5, 55, 35]]), labels=np.array([1, -1]))
    assert view.classes() == [1]
    picture = draw(view, 60)
    assert picture.shape == (40, 60, 3)
    assert tuple(picture[10, 15]) == class_colour(1)
    assert tuple(picture[20, 54]) == UNKNOWN
    assert tuple(picture[30, 5]) == tuple(draw(stored_view(GREY), 60)[30, 5])


def test_names_stand_at_boxes_of_large_pictures_only_and_only_letters_that_are_known() -> None:
    view = replace(stored_view(GREY), boxes=np.array([[10.0, 10, 50, 35]]), labels=np.array([0]))
    assert np.array_equal(draw(view, 120, ["cell"]), draw(view, 120))
    assert not np.array_equal(draw(view, 512, ["cell"]), draw(view, 512))
    assert np.array_equal(draw(view, 512, ["세포"]), draw(view, 512))


def test_boxes_of_an_image_of_which_some_pixels_are_shown_lie_where_they_lay() -> None:
    large = np.zeros((3000, 4000), np.uint8)
    view = replace(stored_view(large), boxes=np.array([[2000.0, 0, 4000, 3000]]), labels=np.array([0]))
    assert max(view.pixels.shape) <= 1024
    picture = draw(view, 100)
    assert picture.shape == (75, 100, 3)
    assert tuple(picture[40, 50]) == class_colour(0)


def test_a_mask_of_a_large_image_is_thinned_too() -> None:
    mask = np.zeros((3000, 4000), np.uint8)
    mask[:, 2000:] = 1
    view = stored_view(np.zeros((3000, 4000), np.uint8)).with_mask(mask)
    assert view.layers is not None
    assert view.layers.shape == (1, 768, 1024)
    picture = draw(view, 100)
    assert tuple(picture[40, 50]) == class_colour(0)
    assert tuple(picture[40, 49]) == (0, 0, 0)


def test_pixels_that_are_not_square_are_seen_as_they_are() -> None:
    assert draw(stored_view(GREY, (2.0, 1.0)), 80).shape == (80, 60, 3)
    assert draw(stored_view(GREY, (float("nan"), 1.0)), 60).shape == (40, 60, 3)


@given(
    arrays.arrays(
        st.sampled_from(
            [np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int64, np.uint64, np.float16, np.float32,
             np.float64]
        ),
        st.one_of(
            st.tuples(st.integers(1, 9), st.integers(1, 9)),
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6)),
        ),
    )
)  # fmt: skip
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_any_values_become_a_picture(array: np.ndarray) -> None:
    shown = as_shown(array)
    assert shown.shape == (*array.shape[:2], 3)
    assert shown.dtype == np.uint8
    assert max(draw(stored_view(array), 32).shape[:2]) == 32


def test_colour_of_8_bits_is_as_it_is_and_grey_is_stretched() -> None:
    colour = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(as_shown(colour), colour)
    ramp = np.linspace(-1000, 2000, 400).reshape(20, 20).astype(np.int16)
    assert (as_shown(ramp).min(), as_shown(ramp).max()) == (0, 255)
    assert as_seen(np.full((2, 2, 1), 0.5, np.float32)).tolist() == [[[128] * 3] * 2] * 2


def test_views_side_by_side_have_one_scale_where_all_have_a_spacing() -> None:
    small, large = stored_view(np.full((20, 20), 9, np.uint8), (1, 1)), stored_view(GREY, (1, 1))
    picture = draw_together([small, large], 164)
    assert picture.shape == (80, 164, 3)
    small, large = replace(small, spacing=None), large
    assert draw_together([small, large], 104).shape[1] == 104


def body() -> tuple[np.ndarray, np.ndarray]:
    """A volume whose voxels grow brighter along X, with two structures of class 2 far from one another."""
    values = np.broadcast_to(np.arange(20, dtype=np.int16)[:, None, None], (20, 16, 12)).copy()
    mask = np.zeros(values.shape, np.uint8)
    mask[2:5, 3:6, 8:10] = 2
    mask[16:18, 3:6, 8:10] = 2
    return values, mask


def test_planes_of_a_volume_go_through_what_is_labelled() -> None:
    values, mask = body()
    views = volume_views(values, np.diag([2.0, 2.0, 3.0, 1.0]), mask, 2)
    assert [view.caption for view in views] == ["axial", "coronal", "sagittal"]
    assert [view.classes() for view in views] == [[1]] * 3
    assert [view.pixels.shape[:2] for view in views] == [(16, 20), (12, 20), (12, 16)]
    assert views[1].spacing == (3.0, 2.0)
    # X grows to the patient's right, which radiologists see on the left.
    assert views[0].pixels[5, 0].sum() > views[0].pixels[5, -1].sum()


def test_an_affine_that_swaps_axes_is_seen() -> None:
    values, _ = body()
    swapped = np.array([[0, 0, 2.0, 0], [0, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]])
    assert volume_views(values, np.diag([2.0, 2, 3, 1]))[0].pixels.shape[:2] == (16, 20)
    assert volume_views(values, swapped)[0].pixels.shape[:2] == (16, 12)


def test_volumes_without_a_mask_or_with_one_of_another_grid_or_without_classes() -> None:
    values, mask = body()
    for other in (None, mask[:-1], np.zeros_like(mask), np.full_like(mask, 255)):
        views = volume_views(values, np.eye(4), other)
        assert [view.classes() for view in views] == [[]] * 3
    frames = np.stack([values, values], axis=3)
    assert np.array_equal(volume_views(frames, np.eye(4))[0].pixels, volume_views(values, np.eye(4))[0].pixels)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_labelled_is_seen_in_each_plane(x: int, y: int, z: int, data: st.DataObject) -> None:
    mask = data.draw(arrays.arrays(np.uint8, (x, y, z), elements=st.sampled_from([0, 0, 1, 255])))
    views: list[View] = volume_views(np.zeros((x, y, z), np.uint8), np.eye(4), mask, 1)
    assert [view.classes() for view in views] == [[0] if (mask == 1).any() else []] * 3
