from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.pictures.panels import CLASS_COLOURS
from datamodules.preprocess import Preprocess
from datamodules.samples.picture import picture, thinned
from datamodules.types import Scan, ScanInfo
from tasks.deployment.mask_pictures import middle_found_slice, write_mask_picture


def test_the_middle_of_what_is_found() -> None:
    planes = np.zeros((9, 4, 4), np.uint8)
    assert middle_found_slice(planes) == 4
    planes[[1, 2, 8], 0, 0] = 3
    assert middle_found_slice(planes) == 2  # in the middle of all of them, 4, nothing is found
    regions = np.zeros((5, 2, 4, 4), np.uint8)
    regions[4, 1] = 1
    assert middle_found_slice(regions) == 4


@pytest.mark.parametrize("overlapping", [False, True])
def test_calls_are_drawn_beside_the_scan(tmp_path: Path, overlapping: bool) -> None:
    image = np.full((40, 60, 1), 0.5, np.float32)
    mask = np.zeros((2, 40, 60) if overlapping else (40, 60), np.uint8)
    mask[..., 5:20, 5:20] = 1
    if overlapping:
        mask[1] = 0
    names = ["a", "b"] if overlapping else ["background", "a", "b"]
    file = write_mask_picture(tmp_path / "overlays", "p1/scan", image, mask, names, overlapping, note="slice 3 of 9")
    assert file == tmp_path / "overlays" / "p1" / "scan.png"
    pixels = np.asarray(Image.open(file).convert("RGB"))

    def has(colour: tuple[int, int, int], part: slice) -> bool:
        return bool((pixels[:, part] == colour).all(axis=2).sum() > 100)

    middle = pixels.shape[1] // 2
    assert has(CLASS_COLOURS[0], slice(middle, None))
    assert not has(CLASS_COLOURS[1], slice(None))  # not called, and not in the legend
    panel = pixels[40 : pixels.shape[0] - 40, 10 : middle - 10]
    assert (panel == panel[..., :1]).all()  # the scan alone


def test_a_mask_of_another_size_is_a_mistake_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mask of shape"):
        write_mask_picture(tmp_path, "x", np.zeros((4, 5, 1), np.float32), np.zeros((4, 6), np.uint8), ["0", "1"])


def test_a_large_scan_is_drawn_from_some_of_its_pixels() -> None:
    array = np.arange(50 * 70, dtype=np.uint16).reshape(50, 70)
    few = thinned(Scan(array, ScanInfo(path="x", original_size=(50, 70))), 4)
    assert np.array_equal(few.array, array[::4, ::4])
    assert few.info == {"path": "x", "original_size": (13, 18)}
    shown = picture(few, Preprocess(size=(32, 32), channels=1))
    assert shown.shape == (13, 18, 1)
    assert (np.diff(shown[:, 0, 0]) > 0).all()
