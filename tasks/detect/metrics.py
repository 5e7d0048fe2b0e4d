"""Average precision of an epoch during training, computed once over all images of the part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from tasks.detect.interface import Detections
from tasks.distributed import gather
from tasks.evaluation.detection.metrics import quick_map


class DetectionMetrics(Metric):
    """COCO mAP in pixels of the model's image, and sensitivity and F1 where F1 is best at an IoU of 0.5.

    The tables have the metrics in pixels of the images as stored: the same overlaps, but for ranges of areas. Averages
    over batches would be wrong (mAP is no mean over images), so boxes are kept until the epoch's end, and come from all
    ranks.

    Args:
        class_names: in class order.
        max_detections: boxes an image that count, the best ones.
    """

    full_state_update = False

    def __init__(self, class_names: Sequence[str], max_detections: int) -> None:
        super().__init__(sync_on_compute=False)  # lists of arrays are gathered below
        self.class_names, self.max_detections = list(class_names), max_detections
        self._targets: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []

    def update(
        self,
        found: Sequence[Detections],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        ignored: Sequence[Tensor] | None = None,
    ) -> None:
        """Add images.

        Args:
            found: what was found, within what shows the scan.
            boxes: (N, 4) true boxes of each.
            labels: (N,) their classes.
            ignored: (M, 6) boxes that are neither to be found nor to be missed: xyxy, class, 1 = VOC's difficult; None:
                there are none.
        """
        for number, (some, true, of) in enumerate(zip(found, boxes, labels, strict=True)):
            self._predictions.append(
                {"boxes": _array(some.boxes), "scores": _array(some.scores), "labels": _array(some.labels)}
            )
            others = np.zeros((0, 6)) if ignored is None else _array(ignored[number])
            counted = np.zeros(len(true))
            self._targets.append(
                {
                    "boxes": np.concatenate([_array(true).reshape(-1, 4), others[:, :4]]),
                    "labels": np.concatenate([_array(of), others[:, 4]]),
                    "ignore": np.concatenate([counted, np.ones(len(others))]),
                    "difficult": np.concatenate([counted, others[:, 5]]),
                }
            )

    def compute(self) -> dict[str, Tensor]:
        """Name of a metric -> (), float32; empty before the first image."""
        parts = gather((self._targets, self._predictions))
        targets = [one for some, _ in parts for one in some]
        predictions = [one for _, some in parts for one in some]
        if not targets:
            return {}
        values = quick_map(targets, predictions, self.class_names, self.max_detections)
        return {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}

    def reset(self) -> None:
        """Forget the images."""
        super().reset()
        self._targets, self._predictions = [], []


def _array(tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    values: np.ndarray[Any, np.dtype[Any]] = tensor.detach().cpu().numpy()
    return values
