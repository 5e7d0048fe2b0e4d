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

    def classes(self, count: int) -> Tensor:
        """(B, M, count) float32: 1 for the class of an anchor's box, else 0."""
        numbers = torch.arange(count, device=self.labels.device)
        return (self.positive[..., None] & (self.labels[..., None] == numbers)).float()


class Pairs(NamedTuple):
    """Anchors with their boxes, to compare what was predicted with.

    Attributes:
        anchors: (P, 4).
        boxes: (P, 4) that they shall give.
        codes: (P, 4) predicted.
        further: (P,) further prediction, where there is one.
        weight: (P,) 1 where there is a box; None: there is one everywhere.
    """

    anchors: Tensor
    boxes: Tensor
    codes: Tensor
    further: Tensor | None
    weight: Tensor | None


def pairs(
    truth: Assigned,
    anchors: Tensor,
    codes: Tensor,
    further: Tensor | None = None,
    *,
    all_: bool,
    itself: float = 0.0,
) -> Pairs:
    """The positive anchors of a batch.

    Args:
        truth: of the batch.
        anchors: (M, 4).
        codes: (B, M, 4).
        further: (B, M).
        all_: take all anchors instead, those without a box with a weight of 0 and as if each had found itself: a GPU
            would have to be waited for to learn how many are positive.
        itself: code of an anchor's own box.
    """
    positive, placed = truth.positive, anchors.expand(len(truth.match), -1, -1)
    if not all_:
        other = None if further is None else further[positive]
        return Pairs(placed[positive], truth.boxes[positive], codes[positive], other, None)
    boxes = torch.where(positive[..., None], truth.boxes, placed)
    codes = codes.masked_fill(~positive[..., None], itself)
    other = None if further is None else further.flatten()
    return Pairs(placed.reshape(-1, 4), boxes.flatten(0, 1), codes.flatten(0, 1), other, positive.flatten().float())


class SilentMatcher(Matcher):
    """torchvision's matcher, which finds the best anchors of a box without telling the host how many they are."""

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Give each box the anchors with which it overlaps most, however little that is.

        Args:
            matches: (M,) changed in place.
            all_matches: (M,) the box with which each anchor overlaps most.
            match_quality_matrix: (N, M) overlaps.
        """
        highest = match_quality_matrix.amax(dim=1, keepdim=True)
        best = (match_quality_matrix == highest).any(dim=0)
        matches.copy_(torch.where(best, all_matches, matches))


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
