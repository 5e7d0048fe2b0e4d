"""Values of what is annotated: voxels of volumes that bear a class other than background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.evenly import evenly
from datamodules.samples.label_values import IGNORE

PERCENTILES = (0.5, 99.5)  # Isensee et al., nnU-Net, Nature Methods 2021
LEAST_VOXELS = 200  # of fewer the 0.5th percentile is the lowest one


def values_of_classes(
    slices: NDArray[Any], masks: NDArray[np.uint8], as_seen: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], most: int
) -> NDArray[np.float64]:
    """Values of voxels that bear a class, evenly spaced over all slices that do: a small organ lies in few of them.

    Args:
        slices: (S, H, W) stored values.
        masks: (S, H, W) stored class numbers.
        as_seen: those of a slice -> (H, W) the model's class numbers, 0 the background, or (L, H, W) of 0 and 1; 255 is
            left out.
        most: values that are taken.
    """
    inside: list[tuple[int, NDArray[np.bool_]]] = []
    for number, mask in enumerate(masks):
        if mask.any():
            seen = as_seen(np.ascontiguousarray(mask))
            inside.append((number, (seen == 1).any(axis=0) if seen.ndim == 3 else (seen != 0) & (seen != IGNORE)))
    ends = np.cumsum([0, *(np.count_nonzero(bears) for _, bears in inside)])
    chosen = evenly(int(ends[-1]), most)
    found = [np.zeros(0)]
    for (number, bears), first, last in zip(inside, ends[:-1], ends[1:], strict=True):
        some = chosen[(first <= chosen) & (chosen < last)] - first
        if len(some):
            found.append(slices[number][bears][some].astype(np.float64))
    return np.concatenate(found)


def range_of(values: Sequence[NDArray[np.float64]]) -> tuple[float, float] | None:
    """The 0.5th and the 99.5th percentile of all values; None of fewer than :data:`LEAST_VOXELS`."""
    together = np.concatenate([np.zeros(0), *values])
    if len(together) < LEAST_VOXELS:
        return None
    low, high = np.percentile(together, PERCENTILES)
    return float(low), float(high)
