"""Drawn rectangles and small detectors for the tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from backbones.pyramid import Backbone
from tasks.detect.detectors import Detector, build_detector, detector_strides

DETECTORS = ("retinanet", "fcos", "faster_rcnn")
SIDE = 128

# Corners and class of the rectangles of each image; the last image has none.
RECTANGLES: list[list[tuple[float, float, float, float, int]]] = [
    [(10, 12, 42, 50, 0), (60, 70, 118, 110, 1)],
    [(30, 80, 70, 112, 1)],
    [(70, 8, 100, 52, 0), (20, 24, 50, 50, 1), (80, 84, 120, 124, 0)],
    [],
]


def drawn(images: list[int] | None = None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Images (B, 3, 128, 128) with filled rectangles, whose colour is their class; boxes and labels."""
    chosen = range(len(RECTANGLES)) if images is None else images
    pictures = torch.rand(len(RECTANGLES), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))[list(chosen)] / 5
    boxes, labels = [], []
    for picture, number in zip(pictures, chosen, strict=True):
        for x1, y1, x2, y2, label in RECTANGLES[number]:
            picture[label, int(y1) : int(y2), int(x1) : int(x2)] += 0.8
        found = torch.tensor(RECTANGLES[number], dtype=torch.float32).reshape(-1, 5)
        boxes.append(found[:, :4])
        labels.append(found[:, 4].long())
    return pictures, boxes, labels


@cache
def backbone_of(network: str, strides: tuple[int, ...], side: int = SIDE) -> Backbone:
    torch.manual_seed(0)
    return Backbone(network, 3, strides, image_size=(side, side))


def detector_of(name: str, network: str = "resnet18", classes: int = 2, **options: Any) -> Detector:
    """A detector of 64 channels with random weights."""
    small = options.pop("small_lesions", False)
    backbone = backbone_of(network, detector_strides(name, small_lesions=small))
    given: dict[str, Any] = {"channels": 64, "anchors": "default", "input_size": (SIDE, SIDE), "roi_samples": 64}
    torch.manual_seed(1)
    return build_detector(name, backbone, classes, **{**given, **options})


@cache
def _levels(network: str, strides: tuple[int, ...], images: tuple[int, ...]) -> list[Tensor]:
    with torch.no_grad():
        levels: list[Tensor] = backbone_of(network, strides).eval()(drawn(list(images))[0])
    return levels


def levels_of(name: str, images: list[int], network: str = "resnet18", *, small_lesions: bool = False) -> list[Tensor]:
    """What the network gives a detector for these images, as leaves of the graph."""
    strides = detector_strides(name, small_lesions=small_lesions)
    return [level.clone().requires_grad_() for level in _levels(network, strides, tuple(images))]


def loosen(detector: nn.Module) -> None:
    """Larger weights in the heads than those that training starts from, so that outputs differ from place to place."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in detector.named_parameters():
        if parameter.dim() > 1 and "neck" not in name:
            scale = 1.5 / parameter[0].numel() ** 0.5
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
