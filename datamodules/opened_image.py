"""An image as it was stored, with what makes the model's image of it: what is read, kept and sent to a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from datamodules.preprocess import Preprocess


class OpenedImage:
    """An image as stored, at the model's size, to be converted tile by tile; :meth:`.Preprocess.opened` makes it.

    It is what is kept in memory and on disk: made again of the same ``spec``, ``stored`` and ``limits`` it gives the
    same values bit for bit.

    Args:
        spec: that makes the model's image of it.
        stored: (h, w) or (h, w, c) in the type it was stored in (uint8, uint16, int16 or float32), or float32 where it
            was resized; without alpha, and without what is filled up below and on the right.
        limits: (2, K) float32: the value that becomes 0, and what is above it at 1. K is 1, the number of windows, or
            the number of channels where each has percentiles of its own; the same for all images of a spec.
        where: the path, for messages.

    Attributes:
        size: (H, W) of the model's image.
        content_size: (h, w) of it that show the scan; below and on the right of them is filling.
    """

    def __init__(self, spec: Preprocess, stored: NDArray[Any], limits: NDArray[np.float32], where: str) -> None:
        self.spec, self.stored, self.limits, self.where = spec, stored, limits, where
        self.content_size: tuple[int, int] = (stored.shape[0], stored.shape[1])
        self.size = self.content_size if spec.size is None else spec.size

    def tile(self, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        """A part of the model's image, equal bit for bit to that part of :meth:`.Preprocess.image`.

        Args:
            top: first row.
            left: first column.
            height: rows; those below the image's edge are left out.
            width: columns; those beyond the image's edge are left out.

        Returns:
            (h, w, C) float32 in [0, 1], contiguous, with memory of its own.
        """
        part = self.stored[top : top + height, left : left + width]
        empty = np.zeros((0, 0, self.spec.channels), np.float32)
        image = self.spec.scaled(part, self.limits, self.where) if part.size else empty
        inside = self._inside(top, left, height, width)
        return image if image.shape[:2] == inside else _filled(image, inside, np.float32(0))

    def stored_tile(self, top: int, left: int, height: int, width: int) -> NDArray[Any] | None:
        """A part as stored, of which :meth:`.Preprocess.scaled` makes that of :meth:`tile`; it may be a view.

        Returns:
            (h, w) or (h, w, c), or None where it has filling and no stored value is seen as 0.
        """
        part = self.stored[top : top + height, left : left + width]
        inside = self._inside(top, left, height, width)
        if part.shape[:2] == inside:
            return part
        dark = self.spec.darkest(self.stored, self.limits)
        return None if dark is None else _filled(part, inside, dark)

    def part(
        self, top: int, left: int, height: int, width: int, *, stored: bool
    ) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
        """:meth:`stored_tile` with the limits, where it is asked for and can be had; else :meth:`tile` and None."""
        part = self.stored_tile(top, left, height, width) if stored else None
        return (self.tile(top, left, height, width), None) if part is None else (part, self.limits)

    def _inside(self, top: int, left: int, height: int, width: int) -> tuple[int, int]:
        """(h, w) of a part that lies inside the model's image."""
        return max(0, min(height, self.size[0] - top)), max(0, min(width, self.size[1] - left))


def _filled(image: NDArray[Any], size: tuple[int, int], value: Any) -> NDArray[Any]:
    """An image filled up below and on the right."""
    filled = np.full((*size, *image.shape[2:]), value, image.dtype)
    filled[: image.shape[0], : image.shape[1]] = image
    return filled
