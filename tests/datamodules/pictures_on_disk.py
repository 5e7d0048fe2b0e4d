"""Pictures on disk, some of them twice in files of other bytes, and a watch over what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from datamodules.readers import formats
from datamodules.types import Scan


def picture(seed: int, kind: type[np.generic] = np.uint8, shape: tuple[int, ...] = (20, 24)) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 250, shape).astype(kind)


def write_pairs(root: Path, count: int = 20) -> None:
    """Twenty pictures of two classes, three of which stand there a second time, in a file of other bytes."""
    for number in range(count):
        folder = root / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        twin = number - 9 if number % 3 == 0 and number >= 9 else number
        if twin == number:
            Image.fromarray(picture(number)).save(folder / f"{number:02d}.png", compress_level=1)
        elif number % 2:
            tifffile.imwrite(folder / f"{number:02d}.tif", picture(twin), compression="lzw")
        else:
            Image.fromarray(picture(twin)).save(folder / f"{number:02d}.png", compress_level=9)


def write_masks(root: Path, count: int = 12) -> Path:
    for number in range(count):
        for folder, shown in (("images", picture(number)), ("masks", picture(number) % 2)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(shown).save(root / folder / f"{number:02d}.png")
    return root


def refuse_reading(monkeypatch: pytest.MonkeyPatch, but: str = "") -> list[str]:
    read: list[str] = []
    original = formats.read

    def told(file: Path, *arguments: Any, **named: Any) -> Scan:
        read.append(file.name)
        assert file.name == but, f"{file} was read again"
        return original(file, *arguments, **named)

    monkeypatch.setattr(formats, "read", told)
    return read
