"""Plausibility of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.checks.measures import Note
from datamodules.samples.label_values import IGNORE

_FULL = 0.99
_SPECK = {2: 3, 3: 4}  # pixels or voxels, by the number of axes
_LARGE = 100  # times a speck
_MOST_CLASSES = 256


def check_mask(mask: NDArray[np.uint8], record: np.void, note: Note, *, separate: bool = False) -> None:
    """Look at the mask of an image or a volume.

    Args:
        mask: (H, W) or (X, Y, Z) class numbers, 0 the background, 255 left out; with ``separate`` (L, H, W) of 0 and 1.
        record: its ``labels`` are set.
        note: takes findings.
        separate: whether each class has a mask of its own.
    """
    planes = [plane == 1 for plane in mask] if separate else None
    if planes is not None:
        shown = [number for number, plane in enumerate(planes, start=1) if plane.any()]
        foreground = np.any(planes, axis=0)
    else:
        counts = np.bincount(mask.ravel(), minlength=_MOST_CLASSES)
        shown = [int(number) for number in np.flatnonzero(counts[1:IGNORE]) + 1]
        foreground = (mask > 0) & (mask != IGNORE)
    record["labels"] = _bits(shown)
    if not shown:
        note("mask_empty", "no pixel belongs to a class")
        return
    share = float(foreground.mean())
    if share > _FULL:
        note("mask_full", f"{100 * share:.1f} % of the pixels belong to a class")
    found = []
    for number in shown:
        specks = _specks(planes[number - 1] if planes is not None else mask == number)
        if specks:
            found.append(f"{specks} of class {number}")
    if found:
        least = _SPECK[foreground.ndim]
        note("specks", f"specks of at most {least} pixels beside regions {_LARGE} times as large: {', '.join(found)}")


def _bits(numbers: list[int]) -> list[int]:
    words = [0] * 4
    for number in numbers:
        words[number // 64] |= 1 << (number % 64)
    return words


def classes_in(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(N, 4) of records -> (N, 256): which stored class numbers the masks show."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little").astype(bool)


def _specks(region: NDArray[np.bool_]) -> int:
    if region.ndim == 2:
        import cv2

        sizes = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    else:
        from scipy.ndimage import generate_binary_structure, label

        sizes = np.bincount(label(region, generate_binary_structure(3, 3))[0].ravel())[1:]
    least = _SPECK[region.ndim]
    return int((sizes <= least).sum()) if sizes.max() >= _LARGE * least else 0
