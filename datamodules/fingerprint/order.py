"""The order in which some of many are looked at: wherever it is broken off, what was seen is spread over all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.evenly import evenly


def spread_out(length: int, most: int) -> NDArray[np.int64]:
    """Numbers below ``length``, evenly spaced, at most ``most``; the first of them are spread over all too.

    They are in the order of van der Corput's sequence: the bits of their place, read backwards.

    Args:
        length: how many there are to choose from.
        most: how many are chosen at most.
    """
    chosen = evenly(length, most)
    places, backwards = np.arange(len(chosen)), np.zeros(len(chosen), np.int64)
    for _ in range(max(1, int(len(chosen) - 1).bit_length())):
        backwards = (backwards << 1) | (places & 1)
        places = places >> 1
    return chosen[np.argsort(backwards, kind="stable")]
