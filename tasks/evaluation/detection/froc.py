"""Free-response ROC: share of lesions found against false positives an image, for many sets of image weights at once.

A lesion is found by a box of its class whose IoU with it reaches the hit threshold, one to one, best score first
(:mod:`tasks.evaluation.detection.matching`). A second hit on a lesion is a false positive: a reader has to look at that
mark too, and suppressing it is the detector's work. So count COCO, and L. Maier-Hein and others, Metrics reloaded,
Nature Methods 21:195-212, 2024; LUNA16 passes such hits over, which never gives less sensitivity. A patient is found
when any of his lesions is. Rates are false positives over all images evaluated, with lesions or not.

The score is the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives an image, read off straight lines
between the points of the curve, from the origin on; right of its end the last sensitivity holds. Source: A. A. A. Setio
and others, Validation, comparison, and combination of algorithms for automatic detection of pulmonary nodules in
computed tomography images: the LUNA16 challenge, Medical Image Analysis 42:1-13, 2017, and its evaluation script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.evaluation.classification.weighted import BoolArray, FloatArray, divide
from tasks.evaluation.detection.boxes import IntArray
from tasks.evaluation.detection.matching import Matches

# IoU from which a box has found a lesion: that of the best-known FROC of boxes on slices (K. Yan, M. Bagheri and
# R. M. Summers, 3D context enhanced region-based CNN for end-to-end lesion detection, MICCAI 2018), and that of map50
# and the operating point, so that all three agree. Where finding matters more than outlining, 0.1 is usual
# (M. Baumgartner and others, nnDetection, MICCAI 2021).
FROC_IOU = 0.5
FALSE_POSITIVES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)  # an image
BLOCK_NUMBERS = 2**19  # numbers in one array at once


@dataclass(frozen=True)
class Froc:
    """The found boxes of one class, or of all, best score first.

    Attributes:
        image: ``(D,)`` image number.
        hit: ``(D,)`` finds a lesion; else false.
        first: ``(D,)`` finds the first lesion of its patient.
        score: ``(D,)``.
        ends: ``(P,)`` last box of each group of equal scores, where the curve has a point; points on the way of a
            straight line, between false positives alone, are left out.
        lesions: ``(n,)`` of each image.
        patients: ``(n,)`` 1 for one image of each patient with lesions.
    """

    image: IntArray
    hit: BoolArray
    first: BoolArray
    score: FloatArray
    ends: IntArray
    lesions: FloatArray
    patients: FloatArray


def build_froc(classes: Sequence[Matches], groups: IntArray, threshold: int) -> Froc:
    """Rank the found boxes of the classes together; a hit asks for the right class.

    Args:
        classes: matches of each class, in the whole range of areas (the first).
        groups: ``(n,)`` patient number of each image.
        threshold: number of the IoU threshold.
    """
    counted = [~matches.ignored[0, threshold] for matches in classes]
    pairs = list(zip(classes, counted, strict=True))
    score = np.concatenate([matches.score[kept] for matches, kept in pairs])
    order = np.argsort(-score, kind="stable")
    score = score[order]
    image = np.concatenate([matches.image[kept] for matches, kept in pairs])[order]
    hit = np.concatenate([matches.hit[0, threshold][kept] for matches, kept in pairs])[order]

    hits = np.flatnonzero(hit)
    first = np.zeros(len(hit), dtype=bool)
    first[hits[np.unique(groups[image[hits]], return_index=True)[1]]] = True

    ends = np.flatnonzero(np.diff(score, append=-np.inf) != 0)
    rises = np.diff(np.cumsum(hit)[ends], prepend=0) > 0
    corner = rises | np.append(rises[1:], True)[: len(ends)]
    lesions = np.sum([matches.truth[0] for matches in classes], axis=0)
    patients = np.zeros(len(groups))
    ill = np.flatnonzero(lesions)
    patients[ill[np.unique(groups[ill], return_index=True)[1]]] = 1
    return Froc(image, hit, first, score, ends[corner], lesions, patients)


def froc_points(weights: FloatArray, curve: Froc) -> tuple[FloatArray, FloatArray, FloatArray]:
    """False positives an image, sensitivity by lesion and by patient at each point of the curve, each ``(B, P)``.

    Sensitivities are NaN where no lesion is drawn. All images of a patient must have one weight.

    Args:
        weights: ``(B, n)`` of the images.
        curve: from :func:`build_froc`.
    """
    drawn = weights[:, curve.image]

    def running(cells: BoolArray) -> FloatArray:
        return np.cumsum(drawn * cells, axis=1)[:, curve.ends]

    def share(counts: FloatArray, total: FloatArray) -> FloatArray:
        return divide(counts, np.broadcast_to(total[:, None], counts.shape))

    return (
        share(running(~curve.hit), weights.sum(axis=1)),
        share(running(curve.hit), weights @ curve.lesions),
        share(running(curve.first), weights @ curve.patients),
    )


def froc_sensitivities(weights: FloatArray, curve: Froc) -> tuple[FloatArray, FloatArray]:
    """Sensitivity by lesion and by patient at each of :data:`FALSE_POSITIVES`, each ``(B, 7)``.

    A curve without a found box is 0 throughout; NaN where no lesion is drawn. Arguments as in :func:`froc_points`.
    """
    rows = max(1, BLOCK_NUMBERS // max(1, len(curve.image)))
    parts = [_read_off(weights[start : start + rows], curve) for start in range(0, len(weights), rows)]
    by_lesion, by_patient = zip(*parts, strict=True)
    return np.concatenate(by_lesion), np.concatenate(by_patient)


def _read_off(weights: FloatArray, curve: Froc) -> tuple[FloatArray, FloatArray]:
    rate, *sensitivities = froc_points(weights, curve)
    rate = np.pad(rate, ((0, 0), (1, 0)))
    read = []
    for sensitivity, total in zip(sensitivities, (curve.lesions, curve.patients), strict=True):
        height = np.pad(sensitivity, ((0, 0), (1, 0)))
        values = np.stack([sensitivity_at(rate, height, wanted) for wanted in FALSE_POSITIVES], axis=1)
        values[weights @ total == 0] = np.nan
        read.append(values)
    return read[0], read[1]


def sensitivity_at(rate: FloatArray, height: FloatArray, wanted: float) -> FloatArray:
    """Heights ``(B,)`` of curves ``(B, P)`` at one rate: on a vertical stretch its upper end.

    Args:
        rate: ascending, from 0 on.
        height: at each rate; straight lines lie between, and right of the end the last holds.
        wanted: the rate, not below 0.
    """
    left = (rate <= wanted).sum(axis=1, keepdims=True) - 1
    right = np.minimum(left + 1, rate.shape[1] - 1)
    x0, x1 = np.take_along_axis(rate, left, axis=1), np.take_along_axis(rate, right, axis=1)
    y0, y1 = np.take_along_axis(height, left, axis=1), np.take_along_axis(height, right, axis=1)
    share = np.divide(wanted - x0, x1 - x0, out=np.zeros_like(x0), where=right > left)
    return (y0 + share * (y1 - y0))[:, 0]


def froc_table(whole: Froc, by_class: Sequence[Froc], class_names: Sequence[str]) -> pd.DataFrame:
    """The curves as a table; a box counts when its score is at least the threshold.

    Args:
        whole: curve of all classes together.
        by_class: curve of each class.
        class_names: in class order.

    Returns:
        Columns ``class`` (empty = all together), ``threshold``, ``fp_per_image``, ``sensitivity`` (by lesion) and
        ``patient_sensitivity``.
    """
    tables = []
    for name, curve in ((None, whole), *zip(class_names, by_class, strict=True)):
        rate, by_lesion, by_patient = (values[0] for values in froc_points(np.ones((1, len(curve.lesions))), curve))
        columns = {
            "class": pd.Series([name] * len(rate), dtype="str"),
            "threshold": curve.score[curve.ends],
            "fp_per_image": rate,
            "sensitivity": by_lesion,
            "patient_sensitivity": by_patient,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
