"""Images and masks at another size: the one way in which pixels of scans are made more or fewer.

A pixel is an area, and the corners of an image stay where they are: pixel ``i`` of ``new`` has its centre at
``(i + 0.5) * old / new`` of the ``old`` ones, so that image and mask keep lying on one another.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Enlarge: TypeAlias = Literal["nearest", "linear", "cubic"]

_RULES = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_KEPT_TYPES = (np.uint8, np.uint16, np.int16, np.float32)  # others become float32
_MOST_CHANNELS = 128  # that OpenCV takes in an image (CV_CN_MAX of version 5)
_GROUP = 4  # channels of which it averages the area by a factor that is not whole


def resize_image(image: NDArray[Any], size: tuple[int, int], enlarge: Enlarge = "linear") -> NDArray[Any]:
    """Bring an image to a size, each side by itself.

    A side that shrinks is averaged over the area that a new pixel covers, so that nothing finer than the new pixels
    comes back as a pattern that is not there; then a side that grows is interpolated. A side of the same length stays
    as it is.

    Args:
        image: (H, W) or (H, W, C) with any number of channels, of any real type.
        size: (h, w) of the result.
        enlarge: how sides grow. ``linear`` stays between the stored values, ``cubic`` is sharper and rings, ``nearest``
            keeps hard pixels.

    Returns:
        (h, w) or (h, w, C); uint8, uint16 and int16 (rounded) and float32 keep their type, all others become float32.
        An image that has the size already may be the one given.
    """
    kind = image.dtype.newbyteorder("=")
    kind = kind if kind in _KEPT_TYPES else np.dtype(np.float32)
    values = np.ascontiguousarray(image, dtype=kind)
    height, width = values.shape[:2]
    shrunk = (min(height, size[0]), min(width, size[1]))
    if shrunk not in ((height, width), size):
        values = values.astype(np.float32)  # rounded once, at the end
    if shrunk != (height, width):
        values = _by_opencv(values, shrunk, cv2.INTER_AREA)
    if shrunk != size:
        values = _nearest(values, size) if enlarge == "nearest" else _by_opencv(values, size, _RULES[enlarge])
    if values.dtype != kind:
        limits = np.iinfo(kind)
        values = np.rint(values).clip(limits.min, limits.max).astype(kind)
    return values


def resize_mask(mask: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Bring class numbers, or the layers of overlapping regions, to a size: the pixel under the new one's centre.

    Not the class that most of the area has: that would let everything vanish that is smaller than half a new pixel, and
    small lesions with it, where this keeps the volume of a class as it is on average. Every layer of regions is seen at
    the same places, and no value comes up that was not there.

    Args:
        mask: (..., H, W) of any type.
        size: (h, w) of the result.

    Returns:
        (..., h, w) of the same type; a mask that has the size already is the one given.
    """
    if mask.shape[-2:] == size:
        return mask
    rows, columns = places(mask.shape[-2:], size)
    return np.ascontiguousarray(mask[..., rows[:, None], columns])


def places(old: tuple[int, ...], new: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows and columns that lie under the centres of the pixels of another size; on a border the later one."""
    rows, columns = (
        ((np.arange(count) + 0.5) * stored / count).astype(np.intp) for count, stored in zip(new, old, strict=True)
    )
    return rows, columns


def _nearest(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    rows, columns = places(values.shape[:2], size)
    return np.asarray(values[rows[:, None], columns])


def _by_opencv(values: NDArray[Any], size: tuple[int, int], rule: int) -> NDArray[Any]:
    """``cv2.resize``, which refuses some images with more than four channels: these go by groups."""
    channels = 1 if values.ndim == 2 else values.shape[2]
    factors = [1 / (new / old) for new, old in zip(size, values.shape[:2], strict=True)]
    whole = all(abs(factor - round(factor)) < np.finfo(float).eps for factor in factors)  # as OpenCV asks
    if channels <= _MOST_CHANNELS and (channels <= _GROUP or rule != cv2.INTER_AREA or whole):
        resized = cv2.resize(values, size[::-1], interpolation=rule)
        return np.asarray(resized.reshape(*size, *values.shape[2:]))  # a single channel loses its axis
    groups = [np.ascontiguousarray(values[:, :, first : first + _GROUP]) for first in range(0, channels, _GROUP)]
    return np.concatenate(
        [cv2.resize(group, size[::-1], interpolation=rule).reshape(*size, -1) for group in groups], axis=2
    )
