"""Boxes from the heads of RetinaNet and FCOS, without torch; see :class:`tasks.detect.dense.DenseDetector`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.exported.classification.scores import sigmoid
from tasks.exported.description import Boxes
from tasks.exported.detection.anchors import anchor_grid, decode_distances, decode_offsets
from tasks.exported.detection.suppression import DecodeSettings, Found, select


def decode_dense(
    outputs: Mapping[str, NDArray[np.float32]], about: Boxes, size: tuple[int, int], settings: DecodeSettings
) -> list[Found]:
    """The boxes of each image of a batch.

    Args:
        outputs: ``logits`` (B, M, C), ``codes`` (B, M, 4) and, of FCOS, ``centerness`` (B, M, 1).
        about: the detector.
        size: (H, W) of the images, filled up.
        settings: how to choose among overlapping boxes.

    Raises:
        ValueError: there are not as many anchors as the images have.
    """
    anchors = anchor_grid(size, about.strides, about.shapes)
    logits, codes, centerness = outputs["logits"], outputs["codes"], outputs.get("centerness")
    if sum(map(len, anchors)) != logits.shape[1]:
        raise ValueError(f"{logits.shape[1]} anchors for an image of {size}, but {sum(map(len, anchors))} expected")
    found = []
    for image in range(len(logits)):
        central = None if centerness is None else centerness[image]
        found.append(select(_candidates(logits[image], codes[image], central, anchors, settings), size, settings))
    return found


def top(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """(K,) places of the ``count`` largest of (N,), largest first; of equal ones the first goes before."""
    if count < len(scores):
        some = np.sort(np.argpartition(-scores, count - 1)[:count])
        return np.asarray(some[np.argsort(-scores[some], kind="stable")], np.int64)
    return np.argsort(-scores, kind="stable")


def _candidates(
    logits: NDArray[np.float32],
    codes: NDArray[np.float32],
    centerness: NDArray[np.float32] | None,
    anchors: tuple[NDArray[np.float32], ...],
    settings: DecodeSettings,
) -> Found:
    """The highest-scoring boxes of each level of one image."""
    classes, start = logits.shape[1], 0
    parts: list[Found] = []
    for level in anchors:
        own = slice(start, start + len(level))
        start += len(level)
        rated = logits[own].ravel()
        if centerness is None:
            best = top(rated, settings.pre_nms_top)  # a sigmoid keeps the order
            scores = sigmoid(rated[best].astype(np.float64))
        else:
            both = sigmoid(logits[own].astype(np.float64)) * sigmoid(centerness[own].astype(np.float64))
            rated = np.sqrt(both).ravel()
            best = top(rated, settings.pre_nms_top)
            scores = rated[best]
        anchor = best // classes
        decode = decode_offsets if centerness is None else decode_distances
        parts.append(Found(decode(codes[own][anchor], level[anchor]), scores, best % classes))
    boxes, scores, labels = (np.concatenate(some) for some in zip(*parts, strict=True))
    return Found(boxes, scores, labels)
