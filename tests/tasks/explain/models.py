"""Small untrained models of each task, for maps of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tasks.classify.task import ClassificationTask
from tasks.detect.task import DetectionTask
from tasks.segment.task import SegmentationTask


def classifier(backbone: str = "resnet10t", size: int = 64, **kwargs: Any) -> ClassificationTask:
    """One channel, two classes unless told otherwise."""
    torch.manual_seed(0)
    given = {"in_channels": 1, "input_size": (size, size), "num_classes": 2, "stem": "standard", **kwargs}
    return ClassificationTask(backbone=backbone, **given).eval()


def segmenter(backbone: str = "resnet10t", size: int = 64, **kwargs: Any) -> SegmentationTask:
    """One channel, background and two classes."""
    torch.manual_seed(0)
    given = {"in_channels": 1, "input_size": (size, size), "class_names": ["background", "organ", "lesion"], **kwargs}
    return SegmentationTask(backbone=backbone, num_classes=len(given["class_names"]), **given).eval()


def detector(kind: str = "retinanet", backbone: str = "resnet10t", size: int = 64, **kwargs: Any) -> DetectionTask:
    """One channel, two classes, narrow heads."""
    torch.manual_seed(0)
    given = {"in_channels": 1, "input_size": (size, size), "num_classes": 2, "channels": 32, **kwargs}
    return DetectionTask(backbone=backbone, detector=kind, **given).eval()


def image(*shape: int, seed: int = 1) -> Tensor:
    """Values in [0, 1]."""
    return torch.rand(*(shape or (1, 1, 64, 64)), generator=torch.Generator().manual_seed(seed))
