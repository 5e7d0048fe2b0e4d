"""Tiles over an image."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.samples.tiles import plan_tiles
from scansuite.errors import SuiteError

CASES = [
    ((100, 130), (32, 48), 0.5),
    ((100, 130), (32, 48), 0.0),
    ((97, 31), (32, 31), 0.25),
    ((64, 65), (64, 64), 0.9),
    ((1000, 3), (7, 8), 0.3),
    ((5, 5), (1, 1), 0.5),
]


@pytest.mark.parametrize(("size", "tile", "overlap"), CASES)
def test_tiles_cover_every_pixel_flush_even_and_no_further_apart_than_asked(
    size: tuple[int, int], tile: tuple[int, int], overlap: float
) -> None:
    places = plan_tiles(size, tile, overlap)
    assert places == sorted(set(places))
    seen = np.zeros(size, int)
    for top, left in places:
        seen[top : top + tile[0], left : left + tile[1]] += 1
    assert seen.min() >= 1
    for axis in (0, 1):
        starts = sorted({place[axis] for place in places})
        assert starts[0] == 0
        assert starts[-1] == max(0, size[axis] - tile[axis])
        steps = np.diff(starts)
        if len(steps):
            assert steps.max() <= max(1, tile[axis] * (1 - overlap))
            assert steps.max() - steps.min() <= 1


def test_worked_by_hand() -> None:
    # A step of at most 4 over 10 - 4 = 6 pixels: two steps of 3.
    assert plan_tiles((10, 4), (4, 4), 0.0) == [(0, 0), (3, 0), (6, 0)]
    # 100 * (1 - 0.9) is 9.999... in binary: still 10 a step.
    assert [left for _, left in plan_tiles((1, 200), (1, 100), 0.9)] == list(range(0, 101, 10))


@pytest.mark.parametrize("size", [(110, 237), (512, 640), (301, 513)])
def test_as_many_tiles_as_nnunet(size: tuple[int, int]) -> None:
    # compute_steps_for_sliding_window of nnU-Net v2.
    tile, step = (64, 96), 0.5
    expected = []
    for side, part in zip(size, tile, strict=True):
        count = int(np.ceil((side - part) / (part * step))) + 1
        expected.append([int(np.round((side - part) / (count - 1) * one)) for one in range(count)])
    assert plan_tiles(size, tile, 1 - step) == [(top, left) for top in expected[0] for left in expected[1]]


def test_a_small_image_has_one_tile() -> None:
    assert plan_tiles((10, 20), (32, 32), 0.5) == [(0, 0)]
    assert plan_tiles((10, 40), (32, 32), 0.5) == [(0, 0), (0, 8)]


@pytest.mark.parametrize(
    ("tile", "overlap", "says"),
    [((0, 4), 0.5, "at least 1 pixel"), ((4, 4), 1.0, "below 1"), ((4, 4), -0.1, "below 1")],
)
def test_what_makes_no_tiles_is_refused(tile: tuple[int, int], overlap: float, says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        plan_tiles((10, 10), tile, overlap)
