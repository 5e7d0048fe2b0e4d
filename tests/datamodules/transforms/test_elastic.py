from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.transforms.elastic import LARGEST, POINTS, displacement, displacement_field, weights
from datamodules.transforms.moved_boxes import bent
from datamodules.transforms.pipeline import Augmentation
from datamodules.transforms.presets import build_augmentation, resolved_ranges, transforms_of
from scansuite.errors import SuiteError

sides = st.integers(2, 70)


def control(size: tuple[int, int], seed: int, reach: float = LARGEST) -> NDArray[np.float64]:
    """Control points at the limit: each is displaced as far as it may be, to either side."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(POINTS, POINTS, 2))
    return np.asarray(signs * reach * np.array(size[::-1]))


@given(st.integers(1, 500))
def test_weights_are_shares(side: int) -> None:
    shares = weights(np.linspace(-5, side + 5, 200)[:, None], side, np.arange(POINTS))
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (shares >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), st.integers(0, 2**32))
def test_no_pixel_moves_further_than_control_points_and_nothing_folds(size: tuple[int, int], seed: int) -> None:
    field = displacement_field(control(size, seed), size)
    assert (np.abs(field) <= LARGEST * np.array(size[::-1]) + 1e-9).all()
    rows, columns = np.indices(size)
    x, y = columns + field[..., 0], rows + field[..., 1]
    # The area of each cell of four pixels keeps its sign.
    across = np.stack([x[:-1, 1:] - x[:-1, :-1], y[:-1, 1:] - y[:-1, :-1]])
    down = np.stack([x[1:, :-1] - x[:-1, :-1], y[1:, :-1] - y[:-1, :-1]])
    assert (across[0] * down[1] - across[1] * down[0] > 0).all()


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), st.integers(0, 2**32))
def test_points_are_followed_to_where_the_image_shows_them(size: tuple[int, int], seed: int) -> None:
    points = np.random.default_rng(seed).random((20, 2)) * np.array(size[::-1])
    moved = control(size, seed, reach=LARGEST / 2)
    there = bent(points, moved, size)
    np.testing.assert_allclose(there + displacement(there - 0.5, moved, size), points, atol=0.02)


def test_image_mask_and_boxes_bend_together_on_a_cpu() -> None:
    size = (64, 80)
    augment = Augmentation(
        transforms_of(resolved_ranges("none", channels=1, elastic=LARGEST), 1), channels=1, boxes=True
    )
    mask = np.zeros(size, np.int64)
    mask[20:44, 30:60] = 3
    image = (mask[..., None] / 3).astype(np.float32)
    box = np.array([[30, 20, 60, 44]], np.float32)
    struck = 0
    for number in range(40):
        result = augment(image, (number,), mask=mask, boxes=box, labels=np.array([7]))
        struck += not np.array_equal(result["mask"], mask)
        rows, columns = np.nonzero(result["mask"])
        edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(result["boxes"][0] - edges).max() < 1.5
        assert result["labels"].tolist() == [7]
        assert ((result["image"][..., 0] > 0.5) != (result["mask"] > 0)).mean() < 0.01
    assert 3 < struck < 25  # three of ten


def test_a_deformation_that_might_fold_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"elastic 0.2: must lie between 0 and 0.1"):
        build_augmentation("light", channels=1, elastic=0.2)
