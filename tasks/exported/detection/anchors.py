"""Anchors and boxes of an exported detector, laid out and decoded as torchvision does, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Shapes = tuple[tuple[tuple[float, float], ...], ...]

_LARGEST = np.float32(math.log(1000.0 / 16))  # logarithm of a side, of torchvision's BoxCoder


def level_grids(size: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """(h, w) of each level of a pyramid over an image of (H, W): sides are halved, rounded up."""
    return [(-(-size[0] // stride), -(-size[1] // stride)) for stride in strides]


@lru_cache(maxsize=4)
def anchor_grid(size: tuple[int, int], strides: tuple[int, ...], shapes: Shapes) -> tuple[FloatArray, ...]:
    """The anchors of every place of every level; see :class:`tasks.detect.anchors.AnchorGrid`.

    Args:
        size: (H, W) of the image.
        strides: of the levels.
        shapes: (width, height) of the anchors of each level, in pixels.

    Returns:
        (h * w * count, 4) xyxy pixels for each level.
    """
    levels = []
    for (height, width), stride, own in zip(level_grids(size, strides), strides, shapes, strict=True):
        half = np.asarray(own, np.float32) / 2
        top, left = np.meshgrid(np.arange(height) * stride, np.arange(width) * stride, indexing="ij")
        places = np.stack([left, top, left, top], axis=-1).reshape(-1, 1, 4).astype(np.float32)
        levels.append((places + np.concatenate([-half, half], axis=1)[None]).reshape(-1, 4))
    return tuple(levels)


def decode_offsets(
    offsets: FloatArray, anchors: FloatArray, weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
) -> FloatArray:
    """Boxes of RetinaNet and Faster R-CNN; torchvision's ``BoxCoder.decode_single``.

    Args:
        offsets: (P, 4 * C): shift of the centre in sides, and logarithm of the sides' growth, for each class.
        anchors: (P, 4) xyxy.
        weights: that the four were multiplied with in training.

    Returns:
        (P, 4 * C) xyxy.
    """
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = anchors[:, :2] + np.float32(0.5) * sides
    codes = offsets.reshape(len(offsets), -1, 4) / np.asarray(weights, np.float32)
    middle = codes[..., :2] * sides[:, None] + centres[:, None]
    half = np.float32(0.5) * (np.exp(np.minimum(codes[..., 2:], _LARGEST)) * sides[:, None])
    boxes: FloatArray = np.concatenate([middle - half, middle + half], axis=2).reshape(len(offsets), -1)
    return boxes


def decode_distances(distances: FloatArray, anchors: FloatArray) -> FloatArray:
    """Boxes of FCOS, (P, 4) distances in strides and (P, 4) anchors; torchvision's ``BoxLinearCoder.decode``."""
    centres = np.float32(0.5) * (anchors[:, :2] + anchors[:, 2:])
    sides = anchors[:, 2:] - anchors[:, :2]
    reach = distances * np.concatenate([sides, sides], axis=1)
    boxes: FloatArray = np.concatenate([centres - reach[:, :2], centres + reach[:, 2:]], axis=1)
    return boxes


def clip_boxes(boxes: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Boxes, (..., 4) xyxy, within an image of (H, W)."""
    height, width = size
    return boxes.clip(0, np.array([width, height, width, height], boxes.dtype))
