"""Boxes from both stages of Faster R-CNN, without torch; see :class:`tasks.detect.faster_rcnn.FasterRcnn`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.exported.classification.scores import sigmoid, softmax
from tasks.exported.description import Boxes
from tasks.exported.detection.anchors import anchor_grid, clip_boxes, decode_offsets
from tasks.exported.detection.dense import top
from tasks.exported.detection.suppression import DecodeSettings, Found, select, suppress

# Of torchvision's region proposal network and RoI heads, as tasks/detect/faster_rcnn.py builds them.
PROPOSALS = 1000  # of each level before suppression, and of the image after it
PROPOSAL_IOU = 0.7
_LEAST_SIDE = 1e-3  # pixels
_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # that the second stage's codes were multiplied with

FloatArray = NDArray[np.float32]
SecondStage = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def propose(
    objectness: FloatArray, offsets: FloatArray, anchors: Sequence[FloatArray], size: tuple[int, int]
) -> FloatArray:
    """Boxes of one image that may show something; torchvision's ``RegionProposalNetwork.filter_proposals``.

    Args:
        objectness: (M,) logits.
        offsets: (M, 4) from the anchors.
        anchors: of each level.
        size: (H, W) of the image.

    Returns:
        (P, 4) xyxy, the likeliest first.
    """
    start = 0
    some: list[tuple[FloatArray, FloatArray, NDArray[np.int64]]] = []
    for number, level in enumerate(anchors):
        own = slice(start, start + len(level))
        start += len(level)
        best = top(objectness[own], PROPOSALS)
        boxes = clip_boxes(decode_offsets(offsets[own][best], level[best]), size)
        some.append((boxes, sigmoid(objectness[own][best]), np.full(len(best), number)))
    boxes, scores, levels = (np.concatenate(part) for part in zip(*some, strict=True))
    large = ((boxes[:, 2:] - boxes[:, :2]) >= _LEAST_SIDE).all(axis=1)
    boxes, scores, levels = boxes[large], scores[large], levels[large]
    likeliest: FloatArray = boxes[suppress(boxes, scores, levels, PROPOSAL_IOU)[:PROPOSALS]]
    return likeliest


def decode_two_stage(
    outputs: Mapping[str, FloatArray],
    about: Boxes,
    size: tuple[int, int],
    settings: DecodeSettings,
    second: SecondStage,
) -> list[Found]:
    """The boxes of each image of a batch.

    Args:
        outputs: ``objectness`` (B, M) and ``offsets`` (B, M, 4).
        about: the detector.
        size: (H, W) of the images, filled up.
        settings: how to choose among overlapping boxes.
        second: the second stage: (R, 5) number of the image and xyxy -> (R, C + 1) logits and (R, 4 * (C + 1)) codes.

    Raises:
        ValueError: there are not as many anchors as the images have.
    """
    anchors = anchor_grid(size, about.strides, about.shapes)
    objectness, offsets = outputs["objectness"], outputs["offsets"]
    if sum(map(len, anchors)) != objectness.shape[1]:
        raise ValueError(f"{objectness.shape[1]} anchors for an image of {size}, but {sum(map(len, anchors))} expected")
    proposals = [propose(*one, anchors, size) for one in zip(objectness, offsets, strict=True)]
    numbered = [np.insert(boxes, 0, image, axis=1) for image, boxes in enumerate(proposals)]
    nothing = Found(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, np.int64))
    if not sum(map(len, proposals)):
        return [nothing] * len(proposals)
    logits, codes = second(np.concatenate(numbered).astype(np.float32))
    found, start = [], 0
    for boxes in proposals:
        own = slice(start, start + len(boxes))
        start += len(boxes)
        found.append(_second(logits[own], codes[own], boxes, size, settings) if len(boxes) else nothing)
    return found


def _second(
    logits: FloatArray, codes: FloatArray, proposals: FloatArray, size: tuple[int, int], settings: DecodeSettings
) -> Found:
    """Every class of every region is a box of its own; background, which is class 0, is none."""
    scores = softmax(logits.astype(np.float64), axis=1)[:, 1:]
    classes = scores.shape[1]
    boxes = decode_offsets(codes, proposals, _WEIGHTS).reshape(len(codes), classes + 1, 4)[:, 1:].reshape(-1, 4)
    best = top(scores.ravel(), settings.pre_nms_top)
    return select(Found(boxes[best], scores.ravel()[best], best % classes), size, settings)
