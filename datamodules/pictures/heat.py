"""Maps of numbers laid over scans, with a bar of their colours and a bar of so many millimetres."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.canvas import Colour, written
from datamodules.resampling import resize_image

# Perceptually uniform, and read alike by the colour-blind: S. van der Walt and N. Smith, 2015.
COLOURS = "viridis"
_OPACITY, _RISE = 0.75, 0.6  # where a map is highest; exponent by which it gets there: middle values are seen too
_BAR, _BAR_WIDTH = 64, 14  # px: the strip beside a picture, and the colours in it
_MARGIN, _THICK = 8, 4  # px: of the scale bar
_SHARE = 0.3  # of a picture's width that a scale bar takes at most
_LINE = 24
_WHITE, _INK = (255, 255, 255), (20, 20, 20)


def overlay(image: NDArray[np.uint8], values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A map over an image; what is low lets the image through.

    Args:
        image: (H, W, 3) RGB; not changed.
        values: (h, w) in [0, 1] that cover the image; brought to its size linearly.
    """
    fine = np.clip(resize_image(np.asarray(values, np.float32), (image.shape[0], image.shape[1])), 0, 1)
    opacity = (_OPACITY * fine**_RISE)[:, :, None]
    mixed = image * (1 - opacity) + _table()[np.rint(fine * 255).astype(np.uint8)] * opacity
    return np.asarray(np.rint(mixed), np.uint8)


def heat_colours() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(256, 3) colours of :func:`overlay` from 0 to 1, and (256,) their opacity, 0 to 255."""
    opacity = 255 * _OPACITY * np.linspace(0, 1, 256) ** _RISE
    return np.rint(_table()).astype(np.uint8), np.rint(opacity).astype(np.uint8)


def with_colour_bar(picture: NDArray[np.uint8], ends: tuple[str, str] = ("0", "1")) -> NDArray[np.uint8]:
    """A picture with the colours of :func:`overlay` beside it, on white, at the opacity that they have there.

    Args:
        picture: (H, W, 3) RGB.
        ends: texts of the lowest and of the highest value.
    """
    height = picture.shape[0]
    strip = np.full((height, _BAR, 3), _WHITE, np.uint8)
    top, bottom = (_LINE, height - _LINE) if height > 3 * _LINE else (0, height)
    ramp = np.linspace(1, 0, bottom - top, dtype=np.float32)[:, None]
    grey = np.full((bottom - top, _BAR_WIDTH, 3), 128, np.uint8)
    strip[top:bottom, _MARGIN : _MARGIN + _BAR_WIDTH] = overlay(grey, np.repeat(ramp, _BAR_WIDTH, axis=1))
    if top:
        strip = written(strip, [(_MARGIN, 0, ends[1]), (_MARGIN, height - _LINE, ends[0])])
    return np.concatenate([picture, strip], axis=1)


def with_scale_bar(picture: NDArray[np.uint8], width: float, unit: str) -> NDArray[np.uint8]:
    """A picture with a bar of 1, 2 or 5 times a power of ten, and what it is, in its lower left corner.

    Args:
        picture: (H, W, 3) RGB; not changed.
        width: of what it shows, in the unit.
        unit: ``mm``, or ``px`` where no spacing is known.
    """
    length = nice_length(width * _SHARE)
    pixels = round(picture.shape[1] * length / width)
    height = picture.shape[0]
    if pixels < 1 or height < 3 * _LINE:
        return picture
    drawn = picture.copy()
    top, left = height - _MARGIN - _THICK, _MARGIN
    drawn[top - 1 : top + _THICK + 1, left - 1 : left + pixels + 1] = _INK
    drawn[top : top + _THICK, left : left + pixels] = _WHITE
    return written(drawn, [(left, top - _LINE - 1, f"{length:g} {unit}")], _WHITE, _INK)


def nice_length(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most ``most`` (above 0)."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(factor * power for factor in (5.0, 2.0, 1.0) if factor * power <= most * (1 + 1e-9))


def contour(picture: NDArray[np.uint8], region: NDArray[np.bool_], colour: Colour, width: int = 2) -> NDArray[np.uint8]:
    """A picture with the outline of a region.

    Args:
        picture: (H, W, 3) RGB; not changed.
        region: (H, W).
        colour: of the outline.
        width: in pixels.
    """
    import cv2

    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(region.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    drawn = picture.copy()
    drawn[region & (inner == 0)] = colour
    return drawn


@cache
def _table() -> NDArray[np.float64]:
    """(256, 3) colours of a map, 0 to 255."""
    import matplotlib as mpl

    colours = np.asarray(mpl.colormaps[COLOURS](np.arange(256)), np.float64)
    return colours[:, :3] * 255
