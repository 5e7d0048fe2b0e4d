"""Detectors as they are exported: from images to what the heads say; and the second stage of Faster R-CNN."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from tasks.detect.dense import DenseDetector
from tasks.detect.faster_rcnn import POOLED, FasterRcnn
from tasks.detect.task import DetectionTask
from tasks.export.graph import Levels

# Of the levels of a pyramid (Lin et al., CVPR 2017, equation 1): a region of this side belongs to this level.
_SIDE, _LEVEL, _SLACK = 224.0, 4, 1e-6


class DenseGraph(nn.Module):
    """RetinaNet or FCOS: what the heads say of all anchors of all levels.

    Args:
        model: trained.
    """

    def __init__(self, model: DetectionTask) -> None:
        super().__init__()
        # An image is standardised before it is filled up, and it is filled up outside.
        self.normalize: nn.Module = nn.Identity() if model.normalize.per_image else model.normalize
        self.backbone, self.detector = Levels(model.backbone), cast("DenseDetector", model.detector)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) in [0, 1], both sides multiples of 32 -> ``logits``, ``codes`` and, of FCOS, ``centerness``."""
        maps = self.detector.neck(self.backbone(self.normalize(image)))
        return tuple(output for output in self.detector.heads(maps) if output is not None)


class ProposalGraph(nn.Module):
    """The first stage of Faster R-CNN: proposals of all anchors, and the maps that the second stage looks at.

    Args:
        model: trained.
    """

    def __init__(self, model: DetectionTask) -> None:
        super().__init__()
        detector = cast("FasterRcnn", model.detector)
        self.normalize: nn.Module = nn.Identity() if model.normalize.per_image else model.normalize
        self.backbone, self.neck, self.head = Levels(model.backbone), detector.neck, detector.rpn.head
        self.count = detector.rpn.anchor_generator.count

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) in [0, 1] -> ``objectness`` (B, M), ``offsets`` (B, M, 4), and the maps."""
        maps = self.neck(self.backbone(self.normalize(image)))
        objectness, offsets = (
            torch.cat([self._by_anchor(level, width) for level in part], dim=1)
            for part, width in zip(self.head(maps), (1, 4), strict=True)
        )
        return (objectness[..., 0], offsets, *maps[:-1])

    def _by_anchor(self, level: Tensor, width: int) -> Tensor:
        """(B, A * width, h, w) -> (B, h * w * A, width), which torchvision does with the batch as a plain number."""
        batch, _, height, columns = level.shape
        split = level.view(batch, self.count, width, height, columns)
        return split.permute(0, 3, 4, 1, 2).reshape(batch, -1, width)


class RegionGraph(nn.Module):
    """The second stage of Faster R-CNN: the class and the box of each region.

    Args:
        detector: trained.
    """

    def __init__(self, detector: FasterRcnn) -> None:
        super().__init__()
        self.heads, self.predictor = detector.roi_heads.box_head, detector.roi_heads.box_predictor
        self.strides = detector.strides[:-1]
        pool = detector.roi_heads.box_roi_pool
        self.sampling = int(pool.sampling_ratio)

    def forward(self, regions: Tensor, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """(R, 5) regions (number of the image, xyxy) and the maps -> (R, C + 1) logits and (R, 4 * (C + 1)) codes."""
        levels = self._levels(regions)
        pooled = regions.new_zeros(regions.shape[0], maps[0].shape[1], POOLED, POOLED)
        for level, (found, stride) in enumerate(zip(maps, self.strides, strict=True)):
            ours = roi_align(found, regions, POOLED, 1.0 / stride, self.sampling)
            pooled = torch.where((levels == level)[:, None, None, None], ours, pooled)
        logits, codes = self.predictor(self.heads(pooled))
        return logits, codes

    def _levels(self, regions: Tensor) -> Tensor:
        """(R,) the map that each region is taken from, as torchvision's ``LevelMapper`` has it."""
        lowest = self.strides[0].bit_length() - 1
        sides = ((regions[:, 3] - regions[:, 1]) * (regions[:, 4] - regions[:, 2])).sqrt()
        wanted = torch.floor(_LEVEL + torch.log2(sides / _SIDE) + _SLACK)
        return wanted.clamp(lowest, lowest + len(self.strides) - 1) - lowest
