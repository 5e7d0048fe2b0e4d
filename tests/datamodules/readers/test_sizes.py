"""Sizes in headers are those of the decoded images; where a header does not say, nobody guesses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from datamodules.readers import formats
from datamodules.readers.sizes import image_size, size_in_header

TIFF: dict[str, dict[str, Any]] = {
    "grey": {"shape": (20, 30)},
    "colour": {"shape": (20, 30, 3), "photometric": "rgb"},
    "colour in planes": {"shape": (3, 20, 30), "photometric": "rgb", "planarconfig": "separate"},
    "12 channels": {"shape": (20, 30, 12), "photometric": "minisblack", "planarconfig": "contig"},
    "on its side": {"shape": (20, 30), "extratags": [(274, "H", 1, 6, True)]},
    "turned over": {"shape": (20, 30), "extratags": [(274, "H", 1, 3, True)]},
    "big": {"shape": (20, 30), "bigtiff": True},
    "in tiles": {"shape": (40, 60), "tile": (16, 16)},
}


@pytest.mark.parametrize("name", TIFF)
def test_of_tiff(name: str, tmp_path: Path) -> None:
    settings = dict(TIFF[name])
    shape = settings.pop("shape")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), **settings)
    expected = formats.read(tmp_path / "a.tif").array.shape[:2]
    assert size_in_header(tmp_path / "a.tif") == image_size(tmp_path / "a.tif") == expected


@pytest.mark.parametrize(("suffix", "turn"), [("png", 1), ("jpg", 1), ("jpg", 6), ("jpg", 3)])
def test_of_png_and_jpeg(suffix: str, turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = turn
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(file, exif=exif)
    assert size_in_header(file) == formats.read(file).array.shape[:2]


def test_pages_other_formats_and_what_is_damaged_say_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((4, 20, 30), np.uint8), photometric="minisblack")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "a.bmp")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "pages.tif").read_bytes()[:40])
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("pages.tif", "a.bmp", "cut.tif", "cut.png", "absent.png"):
        assert size_in_header(tmp_path / name) is None
    assert image_size(tmp_path / "a.bmp") == (20, 30)
