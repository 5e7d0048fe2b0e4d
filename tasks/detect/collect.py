"""Collection of the boxes of tiles while a model predicts; :mod:`tasks.exported.detection.tiles` puts them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torchvision.ops import clip_boxes_to_image

from tasks.deployment.detected import CaseBoxes
from tasks.detect.interface import Detections
from tasks.evaluation.calibration.calibration import Calibration
from tasks.exported.detection.suppression import Found
from tasks.exported.detection.tiles import TileBoxes
from tasks.predictor import StepOutput


class BoxCollector(Callback):
    """Hands each case on as soon as its last tile has come; what several models found in it is fused first.

    Args:
        overlap: share of a tile that the next one covers again.
        nms_iou: boxes of one class from two tiles that overlap more than this are one.
        max_detections: boxes a case, the best ones.
    """

    def __init__(self) -> None:
        self._finished: Callable[[CaseBoxes], None] | None = None
        self._tiles = TileBoxes(0.0, 0.5, 100)

    def start(
        self, finished: Callable[[CaseBoxes], None], *, overlap: float, nms_iou: float, max_detections: int
    ) -> None:
        """Begin with a new set of cases; ``finished`` is called with each, the rest see the class."""
        self._finished, self._tiles = finished, TileBoxes(overlap, nms_iou, max_detections)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput[Any], *_: object
    ) -> None:
        """Add the tiles of a batch."""
        batch = outputs["batch"]
        if self._finished is None:
            return
        for path, _reason in batch["unreadable"]:
            self._tiles.drop(path)
        if not batch["scan"]:
            return
        tile = (int(batch["image"].shape[-2]), int(batch["image"].shape[-1]))
        by_model = (one if isinstance(one, list) else [one] for one in outputs["output"])
        found = [[_as_arrays(own) for own in each] for each in by_model]
        for case in self._tiles.add(found, batch["pieces"], batch["scan"], tile):
            self._finished(case)


def _as_arrays(found: Detections) -> Found:
    boxes, scores, labels = (part.cpu() for part in found)
    return Found(boxes.numpy(), scores.double().numpy(), labels.numpy())


def calibrated(found: Detections, calibration: Calibration | None, class_names: Sequence[str]) -> Detections:
    """Boxes with calibrated scores, highest first; None leaves them as they are."""
    if calibration is None:
        return found
    scores, labels = found.scores.double().cpu().numpy().copy(), found.labels.cpu().numpy()
    for number, name in enumerate(class_names):
        scores[labels == number] = calibration.apply_to(name, scores[labels == number])
    order = np.argsort(-scores, kind="stable")
    place = torch.from_numpy(order).to(found.labels.device)
    return Detections(found.boxes[place], torch.from_numpy(scores[order]).to(found.scores.device), found.labels[place])


def within_scan(found: Detections, size: tuple[int, int], count: int) -> Detections:
    """Boxes within the part of an image that shows the scan: an image is filled up at the bottom and right.

    Evaluation and the epochs of training go through here, so that both see the same boxes.

    Args:
        found: in pixels of the model's image.
        size: (H, W) of it that show the scan.
        count: the best ones are kept.

    Returns:
        Clipped, best first; boxes without area are left out.
    """
    boxes = clip_boxes_to_image(found.boxes, size)
    there = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero()[:, 0]
    kept = there[found.scores[there].argsort(descending=True, stable=True)[:count]]
    return Detections(boxes[kept], found.scores[kept], found.labels[kept])
