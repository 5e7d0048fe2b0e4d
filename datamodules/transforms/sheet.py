"""A sheet of augmented samples, to see by eye whether the strengths suit the scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.resampling import resize_image
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.transforms.pipeline import Augmentation
from scansuite.errors import SuiteError
from scansuite.files import replacing

_GAP = 4  # px between tiles
_GROUND = 96  # grey of the ground, neither the black nor the white of a scan


def write_sheet(
    images: Sequence[NDArray[np.float32]],
    augmentation: Augmentation | DeviceAugmentation,
    file: Path,
    *,
    columns: int = 8,
    tile: int = 128,
    seed: int = 0,
) -> None:
    """Write a PNG with one row a case: the image as it is, then augmented differently in each further column.

    Args:
        images: (H, W, C) float32 in [0, 1]; sizes may differ. Three channels are shown as colour; of any other count
            the first is shown as grey.
        augmentation: what training uses.
        file: the PNG to write; its folder must exist.
        columns: tiles in a row, the first one included.
        tile: side of a tile in pixels; images are fitted into it.
        seed: first of the seed words (seed, row, column).

    Raises:
        SuiteError: there is no image, or the file cannot be written.
    """
    if not images:
        raise SuiteError(f"{file}: no image to show on the sheet")
    step = tile + _GAP
    sheet = np.full((len(images) * step + _GAP, columns * step + _GAP, 3), _GROUND, np.uint8)
    for row, image in enumerate(images):
        for column in range(columns):
            shown = augmentation(image, (seed, row, column))["image"] if column else image
            picture = _fit(shown, tile)
            height, width = picture.shape[:2]
            top = _GAP + row * step + (tile - height) // 2
            left = _GAP + column * step + (tile - width) // 2
            sheet[top : top + height, left : left + width] = picture
    with replacing(file) as temporary:
        temporary.write_bytes(cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())


def _fit(image: NDArray[np.float32], tile: int) -> NDArray[np.uint8]:
    """An 8-bit RGB picture whose longer side is ``tile``; small images keep their hard pixels."""
    height, width = image.shape[:2]
    colour = image if image.shape[2] == 3 else np.repeat(image[:, :, :1], 3, axis=2)
    factor = tile / max(height, width)
    target = (max(1, round(height * factor)), max(1, round(width * factor)))
    picture = resize_image(colour, target, "nearest")
    return np.asarray(np.round(picture * 255), dtype=np.uint8)
