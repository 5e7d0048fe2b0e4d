"""Overlap of a segmented class with the truth: counts of pixels or voxels, and what follows from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]


class Overlap(NamedTuple):
    """Pixels or voxels of one class against the rest."""

    tp: int
    fp: int
    fn: int
    tn: int


def count_overlap(truth: BoolArray, prediction: BoolArray, known: BoolArray | None = None) -> Overlap:
    """Count the voxels of one class in two masks.

    Args:
        truth: ``(H, W)`` or ``(I, J, K)``, True = the class is there.
        prediction: the same for the model's mask.
        known: False where the truth is unknown (ignore value): counted nowhere; None = known everywhere.

    Raises:
        ValueError: the shapes differ.
    """
    check_shapes(truth, prediction)
    if known is not None:
        truth, prediction = truth & known, prediction & known
    both = int(np.count_nonzero(truth & prediction))
    true, called = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    total = truth.size if known is None else int(np.count_nonzero(known))
    return Overlap(tp=both, fp=called - both, fn=true - both, tn=total - true - called + both)


def overlap_metrics(counts: Overlap) -> dict[str, float]:
    """Dice, IoU, sensitivity, specificity, precision, F1 and volume difference; undefined = NaN.

    F1 is Dice under its other name. Dice, IoU and precision are undefined only where both masks are empty, and 0 where
    one is: a precision left out where nothing is called would make the mean over cases better by what is missed.
    ``volume_difference`` is (predicted - true) / true volume, signed: above 0 = segmented too large. It shows bias, and
    opposite errors cancel in its mean (T. Heimann et al., Comparison and evaluation of methods for liver segmentation
    from CT datasets, IEEE TMI 28:1251-1265, 2009). A volume in ml is its voxels x the product of the spacing / 1000.
    """
    tp, fp, fn, tn = counts
    dice = _ratio(2 * tp, 2 * tp + fp + fn)
    return {
        "dice": dice,
        "iou": _ratio(tp, tp + fp + fn),
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "precision": 0.0 if fn and not tp + fp else _ratio(tp, tp + fp),
        "f1": dice,
        "volume_difference": _ratio(fp - fn, tp + fn),
    }


def crop_to_both(truth: BoolArray, prediction: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Both masks (views) within the smallest box that holds the two; a side of the box is 0 where both are empty.

    Raises:
        ValueError: the shapes differ.
    """
    check_shapes(truth, prediction)
    either = truth | prediction
    for axis in range(either.ndim):
        others = tuple(other for other in range(either.ndim) if other != axis)
        filled = np.flatnonzero(either.any(axis=others))
        span = slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0)
        box = (slice(None),) * axis + (span,)
        either, truth, prediction = either[box], truth[box], prediction[box]
    return truth, prediction


def check_shapes(truth: NDArray[np.generic], prediction: NDArray[np.generic]) -> None:
    """Raise ValueError unless the two arrays have one shape: broadcasting would count nonsense."""
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape} and prediction {prediction.shape}: evaluate on one grid")


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
