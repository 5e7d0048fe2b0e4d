"""How much of an image evaluation by tiles sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datamodules.segmentation.mask_folder import MaskFolder
from tasks.tile import evaluated_patches
from tests.datamodules.segmentation.test_mask_folder import dataset


@pytest.mark.parametrize(
    ("settings", "window", "overlap", "patches"),
    [
        ({}, None, 0.5, 1.0),  # whole images
        ({"patch_size": 10}, None, 0.0, 4.0),  # of 16 x 20 pixels: two rows of two
        ({"patch_size": 10}, None, 0.5, 9.0),
        ({"patch_size": 10}, "whole", 0.5, 3.2),
        ({"patch_size": 10}, 20, 0.0, 4.0),  # one tile, of four times the area
        ({"patch_size": 10, "zoom": 2.0}, None, 0.0, 16.0),
        ({"patch_size": 32, "image_size": 32}, None, 0.5, 1.0),
    ],
)
def test_evaluation_is_counted_in_patches_of_training(
    settings: dict[str, Any], window: int | str | None, overlap: float, patches: float, tmp_path: Path
) -> None:
    data = MaskFolder(str(dataset(tmp_path, classes=2)), num_workers=0, cache_dir=str(tmp_path / "cache"), **settings)
    assert evaluated_patches(window, overlap, data, ("val", "test")) == pytest.approx(patches)
    assert evaluated_patches(window, overlap, data, ()) == pytest.approx(1.0)  # nothing is evaluated
