"""Images that look the same: a perceptual hash, and near pairs of hashes without comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.resampling import resize_image

_SIDE, _KEPT = 32, 8
_BANDS = 4  # of 16 bits: hashes that differ in at most three bits agree in one of them
DISTANCE = _BANDS - 1
_MOST_PAIRS = 32  # neighbours that a hash is compared with in each band


def perceptual_hash(grey: NDArray[np.float32]) -> int:
    """The 64 signs of the low frequencies of a picture against their median (pHash).

    Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), section 3.2.1: the picture is
    reduced to 32 x 32, and of its cosine transform the 8 x 8 lowest frequencies are kept.

    Args:
        grey: (H, W), any range.

    Returns:
        An unsigned number of 64 bits; the same for a picture that is brighter, has more contrast or another size.
    """
    small = resize_image(grey, (_SIDE, _SIDE))
    low = cv2.dct(small.astype(np.float32))[:_KEPT, :_KEPT].ravel()
    low[0] = 0  # the mean says nothing of what is seen
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def distances(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Number of bits in which hashes differ, pair by pair."""
    bits = np.ascontiguousarray(some ^ others).view(np.uint8).reshape(-1, 8)
    return np.asarray(_ONES[bits].sum(axis=1), dtype=np.uint8)


_ONES = np.array([number.bit_count() for number in range(256)], np.uint8)


def near_pairs(hashes: NDArray[np.uint64], parts: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Pairs of different parts whose hashes differ in at most :data:`DISTANCE` bits.

    Two such hashes agree in one of four bands of 16 bits, so hashes are sorted by each band in turn (and, within it, by
    what is left) and compared with the next few only. Where more than a few share a band, the farthest of them may be
    passed over: a set of images that all look alike costs no more than another.

    Args:
        hashes: (N,).
        parts: (N,) number of the part of each.

    Yields:
        Two places and their distance, the nearest known of each place only.
    """
    other = np.full(len(hashes), -1, np.int64)
    least = np.full(len(hashes), DISTANCE + 1, np.uint8)
    for band in range(_BANDS):
        # The band goes to the front, the rest follows: equal bands lie side by side, the nearest of them first.
        shift = np.uint64(16 * band)
        turned = (hashes << shift) | (hashes >> (np.uint64(64) - shift)) if band else hashes
        order = np.argsort(turned, kind="stable")
        key = turned[order] >> np.uint64(48)
        for step in range(1, min(_MOST_PAIRS, len(order) - 1) + 1):
            first, second = order[:-step], order[step:]
            candidates = np.flatnonzero((key[:-step] == key[step:]) & (parts[first] != parts[second]))
            one, two = first[candidates], second[candidates]
            one, two = np.minimum(one, two), np.maximum(one, two)
            apart = distances(hashes[one], hashes[two])
            nearer = apart < least[one]
            least[one[nearer]], other[one[nearer]] = apart[nearer], two[nearer]
    for place in np.flatnonzero(other >= 0):
        yield int(place), int(other[place]), int(least[place])
