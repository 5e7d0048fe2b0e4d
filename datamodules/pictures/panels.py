"""Panels of pictures: an image or a slice at a size that people can look at, and the colours of classes on it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.canvas import Colour
from datamodules.resampling import resize_image

# Colours that the colour-blind tell apart: M. Okabe and K. Ito, Color universal design, 2008, and from the fifth class
# on those of P. Tol, Colour schemes, SRON technical note, 2021. What is wrong or unknown has others.
UNKNOWN: Colour = (128, 128, 128)
CLASS_COLOURS: tuple[Colour, ...] = (
    (0, 158, 115), (204, 121, 167), (230, 159, 0), (0, 114, 178), (221, 204, 119), (136, 34, 85), (153, 153, 51),
    (51, 34, 136),
)  # fmt: skip
_SHORT_SIDE, _LONG_SIDE = 384, 768  # px of a panel


def class_colour(number: int) -> Colour:
    """Colour of a class; it comes round again after the eighth.

    Args:
        number: of the class in class order, the background of masks not counted.
    """
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def panel_size(shape: tuple[int, ...], spacing: tuple[float, float] | None) -> tuple[tuple[int, int], int]:
    """(H, W) of a panel for an image of (H, W) pixels of a spacing in mm, and by how much a pixel is enlarged.

    The shorter side of a panel has at least 384 px, unless the longer one would exceed 768.
    """
    row, column = spacing if spacing is not None else (1.0, 1.0)
    finest = min(row, column)
    height, width = shape[0] * row / finest, shape[1] * column / finest
    whole = max(1, min(math.ceil(_SHORT_SIDE / min(height, width)), int(_LONG_SIDE / max(height, width))))
    factor = whole * min(1.0, _LONG_SIDE / (whole * max(height, width)))
    return (max(1, round(height * factor)), max(1, round(width * factor))), whole


def scan_panel(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a scan (H, W, C) in [0, 1] at the size of a panel.

    Of channel counts other than 1 and 3 the middle channel is shown. Dim scans are brightened until their brightest
    thousandth is white.
    """
    channels = image.shape[2]
    values = image if channels == 3 else image[:, :, 0 if channels == 1 else channels // 2]
    values = np.clip(resize_image(values, size, "cubic"), 0, 1)
    values = values / max(float(np.percentile(values, 99.9)), 0.02)
    panel = np.round(np.minimum(values, 1) * 255).astype(np.uint8)
    return panel if panel.ndim == 3 else np.stack([panel] * 3, axis=-1)
