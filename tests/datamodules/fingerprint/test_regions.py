"""Connected regions are those of scipy, and their numbers those of the masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from datamodules.fingerprint.regions import ObjectTable, regions_of

MASKS = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.sampled_from([0, 0, 0, 1, 2, 255])
)


@given(MASKS, st.booleans())
def test_regions_are_those_that_scipy_finds(mask: np.ndarray, background: bool) -> None:
    expected = []
    for number in range(1 if background else 0, 3):
        labels, _ = ndimage.label(mask == number, np.ones((3, 3)))
        for index, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            area = int((labels == index).sum())
            box = (columns.start, rows.start, columns.stop, rows.stop)
            expected.append((number - background, *box, area))
    found = regions_of(mask, background=background)
    assert sorted(map(tuple, found.tolist())) == sorted(tuple(map(float, row)) for row in expected)


@given(arrays(np.uint8, (2, 9, 11), elements=st.sampled_from([0, 1, 255])))
def test_overlapping_classes_have_regions_of_their_own(planes: np.ndarray) -> None:
    found = regions_of(planes, background=False)
    for number, plane in enumerate(planes):
        assert (found[:, 0] == number).sum() == ndimage.label(plane == 1, np.ones((3, 3)))[1]


def test_objects_say_how_many_how_large_and_on_which_side() -> None:
    table = ObjectTable(2)
    left, right = [0, 1, 2, 5, 4, 8], [1, 80, 10, 90, 30, 200]
    table.add(np.array([left, right], float), (50, 100), (2.0, 0.5))
    table.add(np.zeros((0, 6)), (50, 100), (2.0, 0.5))
    found = table.objects()
    assert found is not None
    assert (found.total, found.empty) == (2, 0.5)
    assert (found.per_image.least, found.per_image.most) == (0, 2)
    assert (found.short_side.least, found.short_side.most) == (2, 10)
    assert (found.long_side.least, found.long_side.most) == (4, 20)
    assert found.side_mm is not None
    assert found.side_mm.most == pytest.approx(np.sqrt(10 * 0.5 * 20 * 2.0))
    assert found.share is not None
    assert found.share.most == pytest.approx(200 / 5000)
    assert found.aspect.most == 2
    assert list(found.class_images) == [0.5, 0.5]
    assert list(found.class_sides) == [-1, 1]
    assert [area.median for area in found.class_areas] == [8, 200]


def test_without_images_nothing_is_said_and_without_spacing_no_mm() -> None:
    assert ObjectTable(1).objects() is None
    table = ObjectTable(1)
    table.add(np.array([[0, 0, 0, 1, 1, 1]], float), (4, 4))
    found = table.objects()
    assert found is not None
    assert found.side_mm is None
    assert found.short_side.most == 1  # a lesion of one pixel
