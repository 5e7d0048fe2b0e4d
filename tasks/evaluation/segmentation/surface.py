"""Distances between the surfaces of a segmented class and of the truth, in millimetres.

The surface of a mask are its voxels (in 2D: pixels) that have a neighbour across a face outside the mask, what lies
beyond the image's edge counting as outside: what erosion with face connectivity takes away. MedPy and MONAI do the
same (MONAI needs torch, which these tables do without). Distances run between the centres of such voxels, and each
voxel counts once whatever its size; DeepMind's ``surface-distance`` weighs pieces of surface by their area instead, so
its metrics differ a little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from tasks.evaluation.segmentation.overlap import BoolArray, crop_to_both

FloatArray = NDArray[np.float64]

# NIfTI stores spacing as float32: 0.8 mm comes back as 0.800000012 and must still lie within 0.8 mm.
SPACING_SLACK = 1e-6


class SurfaceDistances(NamedTuple):
    """Distances from each voxel of one surface to the other: mm, infinite where the other mask is empty."""

    to_prediction: FloatArray  # (S,) from the S voxels of the true surface
    to_truth: FloatArray  # (T,) from the T voxels of the predicted surface


def surface(mask: BoolArray) -> BoolArray:
    """The voxels of a mask that have a face neighbour outside it; outside the image is outside the mask."""
    # Ten times as fast as scipy's binary_erosion, which walks the neighbourhood voxel by voxel.
    inner = mask.copy()
    for axis in range(mask.ndim):
        whole, kept = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        kept[1:] &= whole[:-1]
        kept[:-1] &= whole[1:]
        kept[:1] = False
        kept[-1:] = False
    return mask & ~inner


def surface_distances(
    truth: BoolArray, prediction: BoolArray, spacing: Sequence[float] | None = None
) -> SurfaceDistances:
    """Distances between the surfaces of two masks, both ways.

    Args:
        truth: ``(H, W)`` or ``(I, J, K)``.
        prediction: the same for the model's mask.
        spacing: mm per axis; None = unknown, and the distances are in pixels.

    Raises:
        ValueError: the shapes differ, or ``spacing`` is not one positive number an axis.
    """
    step = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, dtype=np.float64)
    if step.shape != (truth.ndim,) or not (np.isfinite(step) & (step > 0)).all():
        raise ValueError(f"spacing {spacing} is not a positive number for each of {truth.ndim} axes")
    truth, prediction = crop_to_both(truth, prediction)
    true, called = surface(truth), surface(prediction)
    return SurfaceDistances(_nearest(true, called, step), _nearest(called, true, step))


def _nearest(start: BoolArray, end: BoolArray, step: FloatArray) -> FloatArray:
    """From each voxel of ``start`` the distance to the nearest of ``end``."""
    apart = ~end[start]  # voxels of both surfaces are at distance 0: no search
    distances = np.zeros(len(apart))
    # Against a distance transform this takes memory for the surfaces only, and half the time on good segmentations.
    # Voxels on a grid need no balanced tree, which is slower to build and, on concentric shapes, to search.
    tree = KDTree(np.argwhere(end) * step, balanced_tree=False, compact_nodes=False)
    distances[apart] = tree.query(np.argwhere(start)[apart] * step)[0]
    return distances


def hd95(distances: SurfaceDistances) -> float:
    """95th percentile of the Hausdorff distance, in mm: the larger of the two directed 95th percentiles, as MONAI.

    Percentiles are interpolated linearly. NaN where either mask is empty: an infinite distance would swallow the mean
    over cases; such cases show in Dice and NSD, which are 0 there, and in the number of cases behind the value.
    Source: D. P. Huttenlocher et al., Comparing images using the Hausdorff distance, IEEE TPAMI 15:850-863, 1993.
    """
    if not all(map(len, distances)):
        return math.nan
    return float(max(np.percentile(directed, 95) for directed in distances))


def assd(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance, in mm: the mean over the voxels of both surfaces together.

    NaN where either mask is empty. Source: T. Heimann et al., Comparison and evaluation of methods for liver
    segmentation from CT datasets, IEEE TMI 28:1251-1265, 2009. (MedPy averages the two directed means instead.)
    """
    if not all(map(len, distances)):
        return math.nan
    return float(np.concatenate(distances).mean())


def image_diagonal(shape: Sequence[int], spacing: Sequence[float] | None = None) -> float:
    """Length of an image's diagonal, edge to edge: mm, or pixels where the spacing is unknown.

    Args:
        shape: of the image, pixels or voxels per axis.
        spacing: mm per axis; None = unknown.
    """
    return math.hypot(*np.multiply(shape, 1.0 if spacing is None else spacing))


def penalised(distance: float, distances: SurfaceDistances, diagonal: float) -> float:
    """A surface distance that is defined in every case, so that a miss cannot drop out of the mean.

    Where one mask is empty it is the diagonal of the image, as in the BraTS challenge (374 mm on its grid, U. Baid and
    others, arXiv:2107.02314), and where both are it is 0.

    Args:
        distance: HD95 or ASSD, NaN where a mask is empty.
        distances: between the surfaces.
        diagonal: see :func:`image_diagonal`.
    """
    there = [len(directed) > 0 for directed in distances]
    return distance if all(there) else diagonal if any(there) else 0.0


def nsd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Normalised surface Dice, 0..1: the share of both surfaces that lies within a tolerance of the other.

    0 where one mask is empty, NaN where both are. Source: S. Nikolov et al., Clinically applicable segmentation of head
    and neck anatomy for radiotherapy, J. Med. Internet Res. 23:e26151, 2021 (arXiv:1809.04430); by voxels, as MONAI.

    Args:
        distances: between the surfaces.
        tolerance_mm: largest distance that is acceptable, inclusive; in pixels where the spacing is unknown.

    Raises:
        ValueError: the tolerance is negative or NaN.
    """
    if not tolerance_mm >= 0:
        raise ValueError(f"tolerance_mm is {tolerance_mm}: give 0 or more")
    every = np.concatenate(distances)
    return float((every <= tolerance_mm * (1 + SPACING_SLACK)).mean()) if len(every) else math.nan
