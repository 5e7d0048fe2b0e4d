"""Boxes of several models become one set of boxes: weighted boxes fusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.exported.detection.overlaps import box_iou

FUSION_IOU = 0.55  # the paper's

FloatArray = NDArray[np.float64]


def fuse_boxes(
    found: Sequence[tuple[FloatArray, FloatArray, NDArray[np.int64]]], iou: float = FUSION_IOU
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Fuse what several models found in one image, class by class.

    All boxes of a class, highest score first, join the cluster whose fused box they overlap most, if by more than
    ``iou``, or begin one of their own. The fused box is the mean of its cluster's corners weighted by score, its score
    their mean score, lowered at the end by min(T, N) / N, where N models were asked and the cluster has T boxes: what
    one model alone found counts little. Source: R. Solovyev, W. Wang and T. Gabruseva, Weighted boxes fusion:
    Ensembling boxes from different object detection models, Image and Vision Computing 107:104117, 2021, section 3,
    equations 1 to 5; all models weigh the same.

    Args:
        found: of each model (n, 4) xyxy, (n,) scores above 0, (n,) class numbers.
        iou: overlap from which boxes show the same thing.

    Returns:
        (m, 4) boxes, (m,) scores, (m,) class numbers, highest score first.
    """
    boxes = np.concatenate([one[0].reshape(-1, 4) for one in found])
    scores = np.concatenate([one[1] for one in found])
    labels = np.concatenate([one[2] for one in found])
    if len(labels) == 0:
        return boxes, scores, labels
    classes = np.unique(labels)
    parts = [_fuse_class(boxes[labels == label], scores[labels == label], len(found), iou) for label in classes]
    boxes, scores = (np.concatenate(some) for some in zip(*parts, strict=True))
    labels = np.repeat(classes, [len(score) for _, score in parts])
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order], labels[order]


def _fuse_class(boxes: FloatArray, scores: FloatArray, models: int, iou: float) -> tuple[FloatArray, FloatArray]:
    """Fused boxes of one class and their scores, in no order."""
    clusters = 0
    weighted, total = np.zeros_like(boxes), np.zeros(len(boxes))  # sums of score * corners, and of scores
    fused, count = np.zeros_like(boxes), np.zeros(len(boxes), np.int64)
    for one in np.argsort(-scores, kind="stable"):
        overlap = box_iou(boxes[one, None], fused[:clusters])[0]
        place = int(overlap.argmax()) if clusters else 0
        if clusters == 0 or overlap[place] <= iou:
            place, clusters = clusters, clusters + 1
        weighted[place] += scores[one] * boxes[one]
        total[place] += scores[one]
        count[place] += 1
        fused[place] = weighted[place] / total[place]
    score = total[:clusters] / count[:clusters] * np.minimum(count[:clusters], models) / models
    return fused[:clusters], score
