"""Non-maximum suppression (NMS): few boxes from many overlapping ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from tasks.detect.interface import DecodeSettings, Detections

LEAST_SIDE = 0.01  # pixels; what lies outside the image is clipped to nothing


def select(
    boxes: Tensor, scores: Tensor, labels: Tensor, size: tuple[int, int], settings: DecodeSettings
) -> Detections:
    """The boxes of one image that remain, highest score first.

    Args:
        boxes: (N, 4) float32 xyxy pixels.
        scores: (N,) float64 in [0, 1].
        labels: (N,) int64. Boxes of unlike classes do not touch each other.
        size: (H, W) that boxes are clipped to.
        settings: thresholds, and which suppression.
    """
    boxes = clip_boxes_to_image(boxes, size)
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
    kept = (scores > settings.score_threshold) & (width >= LEAST_SIDE) & (height >= LEAST_SIDE)
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    if settings.nms == "soft":
        chosen, scores = soft_nms(boxes, scores, labels, settings.soft_sigma, settings.max_detections)
        sure = scores > settings.score_threshold
        return Detections(boxes[chosen[sure]], scores[sure], labels[chosen[sure]])
    chosen = suppress(boxes, scores, labels, settings.nms_iou)[: settings.max_detections]
    return Detections(boxes[chosen], scores[chosen], labels[chosen])


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """(K,) indices of the boxes that NMS by class leaves, highest score first.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,), of another precision or not.
        labels: (N,).
        iou: overlap above which a box is dropped.
    """
    chosen: Tensor = batched_nms(boxes.to(scores.dtype), scores, labels, iou)  # which takes both in one precision
    return chosen


def soft_nms(boxes: Tensor, scores: Tensor, labels: Tensor, sigma: float, count: int) -> tuple[Tensor, Tensor]:
    """Gaussian soft-NMS within each class (Bodla et al., ICCV 2017, equation 3).

    The highest-scoring box is taken and all others of its class lose score by exp(-IoU^2 / sigma), again and again.
    Scores only fall, so boxes come out in order, over all classes together, and ``count`` rounds are enough.
    (torchvision has no soft-NMS.)

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        labels: (N,).
        sigma: width of the Gaussian.
        count: how many boxes to take.

    Returns:
        Indices (K,) of the boxes taken and their lowered scores (K,), K = min(N, count).
    """
    scores = scores.clone()
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    area = (x2 - x1) * (y2 - y1)
    taken: list[Tensor] = []
    lowered: list[Tensor] = []
    for _ in range(min(len(boxes), count)):
        # A tensor of one element, not a number: a GPU would have to wait for the number.
        score, best = scores.max(dim=0, keepdim=True)
        taken.append(best)
        lowered.append(score)
        # Not box_iou, which computes all areas again: a hundred rounds over 2000 boxes take 16 ms with it, 4 ms so.
        width = (torch.minimum(x2, x2[best]) - torch.maximum(x1, x1[best])).clamp_(min=0)
        overlap = width.mul_((torch.minimum(y2, y2[best]) - torch.maximum(y1, y1[best])).clamp_(min=0))
        iou = overlap / (area + area[best] - overlap)
        scores *= torch.exp_(iou.square_().mul_(labels == labels[best]).div_(-sigma))
        scores[best] = -1.0
    if not taken:
        return labels.new_zeros(0), scores
    return torch.cat(taken), torch.cat(lowered)
