"""Maps as pictures: over the scan as stored, with a bar of colours and one of millimetres."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.boxes import draw_boxes
from datamodules.pictures.canvas import Colour, grid, titled
from datamodules.pictures.heat import contour, overlay, with_colour_bar, with_scale_bar
from datamodules.pictures.panels import scan_panel
from datamodules.resampling import resize_image, resize_mask
from tasks.explain.cases import SeenImage
from tasks.explain.maps import Map

_SHORT, _LONG = 384, 2048  # px: a scan that is smaller is enlarged by a whole factor, a larger one made smaller
_TARGET: Colour = (255, 255, 255)  # of the outline of a box or region
_TRUTH: Colour = (255, 0, 255)


def picture_size(seen: SeenImage) -> tuple[int, int]:
    """(H, W) of the picture of a scan: its size as stored, of small ones a multiple, with the proportions of its mm."""
    height, width = (float(side) for side in seen.original)
    if seen.spacing is not None and min(seen.spacing) > 0:
        finest = min(seen.spacing)
        height, width = height * seen.spacing[0] / finest, width * seen.spacing[1] / finest
    factor: float = max(1, math.ceil(_SHORT / min(height, width)))
    factor = min(factor, _LONG / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def scan_picture(seen: SeenImage) -> NDArray[np.uint8]:
    """(H, W, 3) the scan with the model's window, and a scale bar."""
    return _scaled(scan_panel(seen.shown(), picture_size(seen)), seen)


def map_picture(seen: SeenImage, one: Map, truth: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) a map over its scan; what is explained has a white outline, what is true a magenta one.

    Args:
        seen: the image.
        one: its map.
        truth: (h, w) on the image as the model sees it; None: unknown.
    """
    size = picture_size(seen)
    drawn = overlay(scan_panel(seen.shown(), size), seen.on_scan(one.values))
    for region, colour in ((truth, _TRUTH), (one.target.region, _TARGET)):
        if region is not None and region.any():
            drawn = contour(drawn, _on_picture(region, seen, size), colour)
    if one.target.box is not None:
        box = np.array([seen.box_on_scan(one.target.box)])
        drawn = draw_boxes(drawn, box, seen.original, [_TARGET])
    return _scaled(drawn, seen)


def barred(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A map's picture with its colour bar."""
    return with_colour_bar(drawn, ("0", "highest"))


def map_file_picture(scan: NDArray[np.uint8], drawn: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """The picture of a scan and that of a map of it, with its colour bar, side by side under a title."""
    drawn = barred(drawn)
    scan = np.pad(scan, [(0, 0), (0, drawn.shape[1] - scan.shape[1]), (0, 0)], constant_values=255)
    return titled(grid([("scan", scan), ("map", drawn)]), title)


def kernel_picture(scan: NDArray[np.float32], answer: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The scan beside what a kernel makes of it, from its lowest number (black) over 0 (middle grey) to its highest.

    Args:
        scan: (H, W, C) in [0, 1].
        answer: (h, w).
    """
    height, width = scan.shape[:2]
    factor = min(max(1, math.ceil(_SHORT / min(height, width))), _LONG / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    panel = scan_panel(scan, size) if min(height, width) > 32 else _hard(scan, size)
    own = (max(1, round(answer.shape[0] * factor)), max(1, round(answer.shape[1] * factor)))
    reach = float(np.abs(answer).max()) or 1.0
    signed = bool(answer.min() < 0)
    shares = 0.5 + 0.5 * answer / reach if signed else answer / reach
    made = np.repeat(resize_image(np.rint(shares * 255).astype(np.uint8), own, "nearest")[:, :, None], 3, axis=2)
    missing = [(0, size[0] - own[0]), (0, size[1] - own[1]), (0, 0)]
    if min(missing[0][1], missing[1][1]) >= 0:
        made = np.pad(made, missing, constant_values=255)
    return grid(
        [("scan", panel), (f"{-reach if signed else 0:.4g} (black) to {reach:.4g} (white)", made[: size[0], : size[1]])]
    )


def _hard(scan: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = np.rint(np.clip(resize_image(scan[:, :, :1], size, "nearest"), 0, 1) * 255).astype(np.uint8)
    return np.repeat(np.atleast_3d(pixels)[:, :, :1], 3, axis=2)


def _scaled(picture: NDArray[np.uint8], seen: SeenImage) -> NDArray[np.uint8]:
    width = float(seen.original[1])
    if seen.spacing is None:
        return with_scale_bar(picture, width, "px")
    return with_scale_bar(picture, width * seen.spacing[1], "mm")


def _on_picture(region: NDArray[np.bool_], seen: SeenImage, size: tuple[int, int]) -> NDArray[np.bool_]:
    whole = np.zeros(seen.content, np.bool_)
    top, left = seen.place
    part = region[: seen.content[0] - top, : seen.content[1] - left]
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return np.asarray(resize_mask(whole, size))
