"""Masks drawn on panels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.panels import class_colour


def mask_layers(mask: NDArray[Any], count: int, overlapping: bool = False) -> NDArray[np.bool_]:
    """(L, H, W), True where the class or region is.

    Args:
        mask: (H, W) class numbers, 0 the background; or (L, H, W) regions of 0 and 1. Other numbers are no class.
        count: classes beside the background.
        overlapping: the mask has a layer for each region.
    """
    return np.asarray(mask == 1 if overlapping else mask == np.arange(1, count + 1)[:, None, None])


def outline_width(magnified: int) -> int:
    """Width of an outline in pixels of a panel, where a pixel of the image takes so many."""
    return max(2, min(magnified // 4, 3))


def paint_masks(panel: NDArray[np.uint8], layers: NDArray[np.bool_], width: int) -> NDArray[np.uint8]:
    """A panel with each class as a veil of its colour, and an outline within it.

    Args:
        panel: (H, W, 3) RGB; not changed.
        layers: (L, H, W), see :func:`mask_layers`; layer 0 has the first colour.
        width: of the outlines in pixels.
    """
    import cv2

    panel = panel.copy()
    present = [(layer, class_colour(number)) for number, layer in enumerate(layers) if layer.any()]
    for layer, colour in present:
        panel[layer] = np.round(0.6 * panel[layer] + 0.4 * np.array(colour)).astype(np.uint8)
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    for layer, colour in present:
        inner = cv2.erode(layer.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        panel[layer & (inner == 0)] = colour
    return panel
