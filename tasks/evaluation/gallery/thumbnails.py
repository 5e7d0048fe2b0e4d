"""Thumbnails of scans that can be windowed again, and of masks that lie on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.heat import heat_colours
from datamodules.pictures.masks import mask_layers
from datamodules.pictures.panels import UNKNOWN, class_colour
from datamodules.preprocess import Preprocess
from datamodules.resampling import resize_image, resize_mask
from datamodules.types import Scan

MOST_SIDE = 384  # px of the longer side
_MOST_AVERAGED = 4 * MOST_SIDE  # px of a side: rows and columns of larger ones are left out, a slide has gigabytes
_LOSSLESS = 128  # px, up to which PNG costs little
_QUALITY = 90  # of JPEG
_MOST_LAYERS = 120  # classes with colours of their own in a palette of 256
_UNKNOWN_INDEX = 255
_VEIL, _CONTOUR, _UNKNOWN_VEIL = 60, 255, 120  # opacity, 0..255
_CONTOUR_PX = 2
_BRIGHTEST = 99.9  # percentile that is white at first where a scan is dim, as in the overlays
_DIMMEST = 0.02  # share of the window that is the narrowest at first


@dataclass(frozen=True)
class Thumbnail:
    """A scan as a small picture, over a range of values that is wider than the model's window.

    Attributes:
        data: PNG or JPEG.
        size: (height, width) in pixels, which are square.
        window: grey values that are black and white at first; 0 and 1 are the ends of the picture's own range.
        units: the same in stored units, where the model has a window in these, such as HU; otherwise None.
    """

    data: bytes
    size: tuple[int, int]
    window: tuple[float, float]
    units: tuple[float, float] | None

    @property
    def suffix(self) -> str:
        """Of a file: ``.png`` or ``.jpg``."""
        return ".png" if self.data.startswith(b"\x89PNG") else ".jpg"


def scan_thumbnail(scan: Scan, preprocess: Preprocess, spacing: tuple[float, float] | None = None) -> Thumbnail:
    """A scan of which the model's window and half its width more on each side can be seen.

    Where several windows are channels, all of them can be seen, and the first is shown at first. Of channel counts
    other than 1 and 3, and of neighbouring slices, the middle channel is shown.

    Args:
        scan: as its reader gives it.
        preprocess: of the model.
        spacing: mm per row and column, where known; pixels of another shape than square are shown in it.

    Raises:
        SuiteError: the values have no scale.
    """
    opened = replace(preprocess, size=None, zoom=1.0).opened(scan)
    height, width = scan.info.get("content_size", opened.content_size)
    step = max(1, max(height, width) // _MOST_AVERAGED)
    stored = opened.stored[:height:step, :width:step]
    limits = np.asarray(opened.limits, dtype=np.float64)
    stored, limits = _shown_channels(stored, limits, colours=scan.info.get("slice") is None)
    size = thumbnail_size(scan.info.get("original_size", (height, width)), spacing)
    values = resize_image(np.asarray(stored, np.float32), size).astype(np.float64)
    first = (float(limits[0, 0]), float(limits[0, 0] + limits[1, 0]))
    black, white = _range(values, limits, wide=values.ndim == 2 and not preprocess.windows[1:])
    shown = (np.clip(values, black, white) - black) / (white - black)
    ends = [(end - black) / (white - black) for end in first]
    physical = bool(preprocess.windows) or preprocess.value_range is not None
    if not physical:  # a window in HU is to be the same in all scans, dim ones too
        ends = [max(ends[0], 0.0), min(ends[1], float(np.percentile(shown, _BRIGHTEST)))]
    if preprocess.gamma != 1:
        shown, ends = shown**preprocess.gamma, [max(end, 0.0) ** preprocess.gamma for end in ends]
    ends[1] = max(ends[1], ends[0] + _DIMMEST)
    straight = physical and values.ndim == 2 and preprocess.gamma == 1
    units = (black + ends[0] * (white - black), black + ends[1] * (white - black)) if straight else None
    pixels = np.rint(shown * 255).astype(np.uint8)
    return Thumbnail(_encoded(pixels), size, (ends[0], ends[1]), units)


def thumbnail_size(shape: tuple[int, ...], spacing: tuple[float, float] | None) -> tuple[int, int]:
    """(H, W) of a thumbnail with square pixels, of the scan's own resolution where that is not too large."""
    row, column = spacing if spacing is not None and min(spacing) > 0 else (1.0, 1.0)
    finest = min(row, column)
    height, width = shape[0] * row / finest, shape[1] * column / finest
    factor = min(1.0, MOST_SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def mask_picture(mask: NDArray[Any], class_count: int, size: tuple[int, int], *, overlapping: bool = False) -> bytes:
    """A mask to be laid over a thumbnail: each class as a veil of its colour with a contour, nothing elsewhere.

    Args:
        mask: (H, W) class numbers, 0 the background; or (L, H, W) regions of 0 and 1. Other numbers are unknown, and
            grey.
        class_count: classes beside the background, or regions.
        size: (height, width) of the thumbnail; the picture may be larger, and has its proportions.
        overlapping: the mask has a layer for each region.

    Returns:
        An indexed PNG; empty bytes where there is nothing to show.
    """
    import cv2
    from PIL import Image

    factor = max(1, MOST_SIDE // max(size))
    whole = (size[0] * factor, size[1] * factor)
    mask = resize_mask(mask, whole)
    layers = mask_layers(mask, class_count, overlapping)
    strange = mask > (1 if overlapping else class_count)
    unknown = np.asarray(strange.any(axis=0) if overlapping else strange)
    if not layers.any() and not unknown.any():
        return b""
    numbers = np.zeros(whole, np.uint8)
    numbers[unknown] = _UNKNOWN_INDEX
    palette, opacity = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)
    palette[_UNKNOWN_INDEX], opacity[_UNKNOWN_INDEX] = UNKNOWN, _UNKNOWN_VEIL
    present = [number for number, layer in enumerate(layers) if layer.any()]
    for number in present:
        index = 1 + 2 * (number % _MOST_LAYERS)
        palette[index : index + 2] = class_colour(number)
        opacity[index], opacity[index + 1] = _VEIL, _CONTOUR
        numbers[layers[number]] = index
    square = np.ones((2 * _CONTOUR_PX + 1, 2 * _CONTOUR_PX + 1), np.uint8)
    for number in present:
        layer = layers[number]
        inner = cv2.erode(layer.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        numbers[layer & (inner == 0)] = 2 + 2 * (number % _MOST_LAYERS)
    picture = Image.fromarray(numbers, mode="P")
    picture.putpalette(palette.tobytes())
    return _saved(picture, format="PNG", optimize=True, transparency=opacity.tobytes())


def heat_layer(values: NDArray[np.floating], size: tuple[int, int]) -> bytes:
    """A map to be laid over a thumbnail: colours where it is high, nothing where it is 0.

    Args:
        values: (h, w) in [0, 1] that cover the scan.
        size: (height, width) of the thumbnail.

    Returns:
        An indexed PNG.
    """
    from PIL import Image

    colours, opacity = heat_colours()
    fine = np.clip(resize_image(np.asarray(values, np.float32), size), 0, 1)
    picture = Image.fromarray(np.rint(fine * 255).astype(np.uint8), mode="P")
    picture.putpalette(colours.tobytes())
    return _saved(picture, format="PNG", optimize=True, transparency=opacity.tobytes())


def telling_slice(truth: NDArray[Any], prediction: NDArray[Any], *, errors: bool) -> int:
    """The slice that shows most of the truth, or most of the errors; else most of the prediction, or the middle one.

    Args:
        truth: (S, H, W) class numbers, or (S, L, H, W) of 0 and 1; numbers that are no class (255) count nowhere.
        prediction: the same of the model.
        errors: of the errors first.
    """
    known = truth != _UNKNOWN_INDEX
    inside = tuple(range(1, truth.ndim))
    wrong, true, found = (
        (known & some).sum(axis=inside) for some in (truth != prediction, truth != 0, prediction != 0)
    )
    for counts in (wrong, true, found) if errors else (true, found):
        if counts.any():
            return int(counts.argmax())
    return len(truth) // 2


def _shown_channels(
    stored: NDArray[Any], limits: NDArray[np.float64], *, colours: bool
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(h, w) or (h, w, 3), with its limits: (2, K) of the windows, or (2, 1)."""
    if stored.ndim == 2:
        return stored, limits
    channels = stored.shape[2]
    if channels == 3 and colours and limits.shape[1] == 1:
        first = stored[:, :, :1]
        if (stored == first).all():  # grey, saved as colours
            return stored[:, :, 0], limits
    own = limits.shape[1] == channels and channels > 1  # each has limits of its own
    if channels == 3 and colours:
        low, high = limits[0].min(), (limits[0] + limits[1]).max()
        return stored, np.array([[low], [high - low]])
    middle = 0 if channels == 2 and colours else channels // 2  # grey with alpha
    return stored[:, :, middle], limits[:, middle : middle + 1] if own else limits


def _range(values: NDArray[np.float64], limits: NDArray[np.float64], *, wide: bool) -> tuple[float, float]:
    """Stored values that are black and white in the thumbnail."""
    low, high = limits[0].min(), (limits[0] + limits[1]).max()
    if wide:
        reach = (high - low) / 2
        # No wider than what is there: grey values are few.
        low, high = max(low - reach, float(values.min())), min(high + reach, float(values.max()))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    picture = Image.fromarray(pixels)
    if max(pixels.shape[:2]) <= _LOSSLESS:
        return _saved(picture, format="PNG", optimize=True)
    return _saved(picture, format="JPEG", quality=_QUALITY, subsampling=0, optimize=True)


def _saved(picture: Any, **how: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, **how)
    return buffer.getvalue()


def class_legend(class_names: Sequence[str]) -> list[tuple[str, str]]:
    """Name and colour (``#rrggbb``) of each class, the background of masks not among them."""
    return [(name, "#{:02x}{:02x}{:02x}".format(*class_colour(number))) for number, name in enumerate(class_names)]
