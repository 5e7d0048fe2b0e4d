"""Non-maximum suppression (NMS) as :mod:`tasks.detect.nms` and torchvision do it, ties included, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError, nearest
from tasks.exported.detection.anchors import clip_boxes
from tasks.exported.detection.overlaps import areas

LEAST_SIDE = 0.01  # pixels; what lies outside the image is clipped to nothing
_AT_ONCE = 1000  # boxes up to which torchvision moves classes apart, to suppress them all in one go

Nms = Literal["nms", "soft"]
IntArray = NDArray[np.int64]


class Found(NamedTuple):
    """What was found in one image, highest score first.

    Attributes:
        boxes: (N, 4) float32 xyxy in pixels of the image given.
        scores: (N,) float64 in [0, 1].
        labels: (N,) int64, 0..C-1.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float64]
    labels: IntArray

    def of(self, chosen: NDArray[Any] | slice) -> Found:
        """Some of them."""
        return Found(self.boxes[chosen], self.scores[chosen], self.labels[chosen])


@dataclass(frozen=True)
class DecodeSettings:
    """How raw output becomes boxes.

    Attributes:
        score_threshold: boxes at or below it are left out. For evaluating it must stay near 0.
        nms: ``nms`` drops a box that overlaps a surer one of its class; ``soft`` lowers its score by the overlap
            (Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", ICCV 2017, Gaussian).
        nms_iou: overlap above which ``nms`` drops a box.
        soft_sigma: width of the Gaussian of ``soft``.
        max_detections: boxes of one image.
        pre_nms_top: highest-scoring boxes of each level (in Faster R-CNN of the image) that are looked at.

    Raises:
        SuiteError: a number is out of its range.
    """

    score_threshold: float = 0.001
    nms: Nms = "nms"
    nms_iou: float = 0.5
    soft_sigma: float = 0.5
    max_detections: int = 100
    pre_nms_top: int = 1000

    def __post_init__(self) -> None:
        if self.nms not in ("nms", "soft"):
            raise SuiteError(f"--model.nms {self.nms!r} is unknown: {nearest(self.nms, ('nms', 'soft'))}")
        if not 0 <= self.score_threshold < 1:
            raise SuiteError(f"--model.score_threshold {self.score_threshold}: must be at least 0 and below 1")
        if not 0 < self.nms_iou <= 1:
            raise SuiteError(f"--model.nms_iou {self.nms_iou}: must be above 0 and at most 1")
        if not self.soft_sigma > 0:
            raise SuiteError(f"--model.soft_sigma {self.soft_sigma}: must be above 0")
        for flag in ("max_detections", "pre_nms_top"):
            if getattr(self, flag) < 1:
                raise SuiteError(f"--model.{flag} {getattr(self, flag)}: must be at least 1")


def select(found: Found, size: tuple[int, int], settings: DecodeSettings) -> Found:
    """The boxes of one image that remain, highest score first.

    Args:
        found: candidates, in no order.
        size: (H, W) that boxes are clipped to.
        settings: thresholds, and which suppression.
    """
    boxes = clip_boxes(found.boxes, size)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    kept = (found.scores > settings.score_threshold) & (width >= LEAST_SIDE) & (height >= LEAST_SIDE)
    left = Found(boxes[kept], found.scores[kept], found.labels[kept])
    if settings.nms == "soft":
        chosen, scores = soft_nms(left, settings.soft_sigma, settings.max_detections)
        sure = scores > settings.score_threshold
        return Found(left.boxes[chosen[sure]], scores[sure], left.labels[chosen[sure]])
    return left.of(suppress(left.boxes, left.scores, left.labels, settings.nms_iou)[: settings.max_detections])


def suppress(boxes: NDArray[Any], scores: NDArray[Any], labels: IntArray, iou: float) -> IntArray:
    """(K,) indices of the boxes that NMS by class leaves, highest score first; torchvision's ``batched_nms``.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,), in whose precision boxes are compared.
        labels: (N,).
        iou: overlap above which a box is dropped.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    boxes = boxes.astype(scores.dtype)
    if len(boxes) <= _AT_ONCE:
        # Rounded as torchvision's are, so that the same boxes are dropped where an overlap is the limit itself.
        apart = labels.astype(scores.dtype) * (boxes.max() + scores.dtype.type(1))
        return nms(boxes + apart[:, None], scores, iou)
    some = (np.flatnonzero(labels == label) for label in np.unique(labels))
    kept = np.sort(np.concatenate([own[nms(boxes[own], scores[own], iou)] for own in some]))
    chosen: IntArray = kept[np.argsort(-scores[kept], kind="stable")]
    return chosen


def nms(boxes: NDArray[Any], scores: NDArray[Any], iou: float) -> IntArray:
    """(K,) indices of the boxes that no surer one overlaps by more than ``iou``, highest score first.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,); of equal ones the first goes before.
        iou: see above.
    """
    left = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes[left].T.copy()
    area = (x2 - x1) * (y2 - y1)
    kept: list[int] = []
    while len(left):
        kept.append(int(left[0]))
        width = np.minimum(x2[0], x2[1:]) - np.maximum(x1[0], x1[1:])
        both = np.clip(width, 0, None) * np.clip(np.minimum(y2[0], y2[1:]) - np.maximum(y1[0], y1[1:]), 0, None)
        overlap = both / (area[0] + area[1:] - both)
        stays = np.flatnonzero(~(overlap.astype(np.float64) > iou)) + 1
        left, x1, y1, x2, y2, area = left[stays], x1[stays], y1[stays], x2[stays], y2[stays], area[stays]
    return np.array(kept, np.int64)


def soft_nms(found: Found, sigma: float, count: int) -> tuple[IntArray, NDArray[np.float64]]:
    """Gaussian soft-NMS within each class; :func:`tasks.detect.nms.soft_nms`.

    Args:
        found: the boxes of an image.
        sigma: width of the Gaussian.
        count: how many boxes to take.

    Returns:
        Indices (K,) of the boxes taken and their lowered scores (K,), K = min(N, count).
    """
    boxes, scores, labels = found.boxes, found.scores.copy(), found.labels
    x1, y1, x2, y2 = boxes.T.copy()
    area = areas(boxes)
    taken = np.zeros(min(len(boxes), count), np.int64)
    lowered = np.zeros(len(taken))
    for place in range(len(taken)):
        best = int(scores.argmax())
        taken[place], lowered[place] = best, scores[best]
        width = (np.minimum(x2, x2[best]) - np.maximum(x1, x1[best])).clip(min=0)
        both = width * (np.minimum(y2, y2[best]) - np.maximum(y1, y1[best])).clip(min=0)
        iou = both / (area + area[best] - both)
        scores *= np.exp(-(iou**2) * (labels == labels[best]) / sigma)
        scores[best] = -1.0
    return taken, lowered
