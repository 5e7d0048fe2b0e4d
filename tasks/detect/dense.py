"""Parts that dense detectors (RetinaNet and FCOS) share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher

from tasks.detect.anchors import AnchorGrid
from tasks.detect.fpn import Neck, grids_of
from tasks.detect.interface import DecodeSettings, Detections, Detector, Raw
from tasks.detect.nms import select
from tasks.precision import in_double


@dataclass(frozen=True)
class DenseRaw(Raw):
    """Output for each anchor; M = all anchors of all levels, fine to coarse.

    Attributes:
        logits: (B, M, C) of the classes, for a sigmoid each.
        codes: (B, M, 4) of the box, from the anchor.
        centerness: (B, M, 1) logit, in FCOS.
    """

    logits: Tensor
    codes: Tensor
    centerness: Tensor | None = None


class Assigned(NamedTuple):
    """Targets of the anchors of a batch.

    Attributes:
        match: (B, M) index of its box in the image, or one of the negative numbers of torchvision's ``Matcher``.
        boxes: (B, M, 4) that box; anything where there is none.
        labels: (B, M) its class.
    """

    match: Tensor
    boxes: Tensor
    labels: Tensor

    @property
    def positive(self) -> Tensor:
        """(B, M) bool: has a box."""
        return self.match >= 0

    @property
    def counted(self) -> Tensor:
        """(B, M) bool: has a box or is background; those in between bear on nothing."""
        return self.match.ne(Matcher.BETWEEN_THRESHOLDS)


def assign(match: Matcher, anchors: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> Assigned:
    """Give each anchor of each image a box or background.

    Args:
        match: from (N, 4) boxes, N > 0, and (M, 4) anchors to (M,) indices.
        anchors: (M, 4).
        boxes: B x (N, 4).
        labels: B x (N,).
    """
    shape = (len(boxes), len(anchors))
    assigned = Assigned(
        torch.full(shape, Matcher.BELOW_LOW_THRESHOLD, dtype=torch.int64, device=anchors.device),
        anchors.new_zeros(*shape, 4),
        torch.zeros(shape, dtype=torch.int64, device=anchors.device),
    )
    for image, (found, named) in enumerate(zip(boxes, labels, strict=True)):
        if len(found):
            matched = match(found.float(), anchors)
            assigned.match[image] = matched
            assigned.boxes[image] = found.float()[matched.clamp(min=0)]
            assigned.labels[image] = named[matched.clamp(min=0)]
    return assigned


class DenseDetector(Detector):
    """Neck, anchors and decoding; a subclass brings heads and losses.

    Args:
        neck: from the backbone's levels to the heads'.
        grid: anchors of those levels.
        num_classes: without background.
    """

    def __init__(self, neck: Neck, grid: AnchorGrid, num_classes: int) -> None:
        super().__init__()
        self.neck, self.grid = neck, grid
        self.strides, self.num_classes = neck.strides, num_classes

    @abstractmethod
    def heads(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """``logits``, ``codes`` and ``centerness`` of :class:`DenseRaw`."""

    @abstractmethod
    def scores(self, raw: DenseRaw) -> Tensor:
        """(B, M, C) in [0, 1]."""

    @abstractmethod
    def boxes(self, codes: Tensor, anchors: Tensor) -> Tensor:
        """(P, 4) codes and (P, 4) anchors -> (P, 4) xyxy."""

    def forward(self, image: Tensor, levels: list[Tensor]) -> DenseRaw:
        """See :meth:`Detector.forward`."""
        maps = self.neck(levels)
        return DenseRaw((image.shape[-2], image.shape[-1]), grids_of(maps), *self.heads(maps))

    @torch.no_grad()
    def decode(
        self, raw: Raw, settings: DecodeSettings, sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Detections]:
        """See :meth:`Detector.decode`."""
        raw = cast("DenseRaw", raw.float())
        exact = raw.apply(in_double)
        with torch.autocast(raw.logits.device.type, enabled=False):
            anchors = self.grid(raw.grids)
            lengths = [len(level) for level in anchors]
            batch = len(raw.logits)
            parts = (torch.split(all_, lengths, dim=1) for all_ in (self.scores(exact), raw.codes))
            candidates: list[tuple[Tensor, Tensor, Tensor]] = []
            for scores, codes, level in zip(*parts, anchors, strict=True):
                top = min(settings.pre_nms_top, scores.shape[1] * scores.shape[2])
                best, place = scores.flatten(1).topk(top, dim=1)
                anchor = place // self.num_classes
                chosen = codes.gather(1, anchor[..., None].expand(-1, -1, 4))
                boxes = self.boxes(chosen.reshape(-1, 4), level[anchor.flatten()]).reshape(batch, top, 4)
                candidates.append((boxes, best, place % self.num_classes))
            boxes, scores, labels = (torch.cat(part, dim=1) for part in zip(*candidates, strict=True))
            return [
                select(boxes[image], scores[image], labels[image], sizes[image] if sizes else raw.size, settings)
                for image in range(batch)
            ]
