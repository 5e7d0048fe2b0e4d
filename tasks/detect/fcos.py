"""FCOS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxLinearCoder, Matcher
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSRegressionHead
from torchvision.ops import sigmoid_focal_loss

from tasks.detect.anchors import AnchorGrid, shrink
from tasks.detect.dense import DenseDetector, DenseRaw, assign, pairs
from tasks.detect.fpn import Neck, group_norm
from tasks.detect.interface import Raw
from tasks.detect.losses import overlap_loss, shares, weighed
from tasks.detect.own_losses import OwnBoxLoss, OwnClassLoss

RADIUS = 1.5  # strides around the centre of a box within which places are positive
HALF = 0.5  # of an anchor's side, from its place to its edges
NEAR, FAR = 4, 8  # strides: a level takes boxes whose farthest side lies between, the outer levels all beyond


class Fcos(DenseDetector):
    """Boxes from places without anchors (Tian et al., "FCOS", ICCV 2019), with centre sampling and GIoU.

    Heads, matching and coding are torchvision's; the ranges of the levels (0..64..128..256..512 px and beyond at
    strides 8 to 128) shrink with small images, down to half, so that not all boxes crowd into the finest level.

    Args:
        neck: see :class:`DenseDetector`.
        num_classes: without background.
        input_size: (H, W) of the images; None: large.
        box_loss: ``giou``, ``diou`` or ``ciou``.
        alpha: weight of positives in the focal loss; negatives have 1 - alpha.
        gamma: focusing exponent.
        class_loss: of the user's, instead of the focal loss.
    """

    def __init__(
        self,
        neck: Neck,
        num_classes: int,
        *,
        input_size: Sequence[int] | None,
        box_loss: str | OwnBoxLoss,
        alpha: float,
        gamma: float,
        class_loss: OwnClassLoss | None = None,
    ) -> None:
        squares = [[[float(stride), float(stride)]] for stride in neck.strides]
        super().__init__(neck, AnchorGrid(neck.strides, squares), num_classes)
        self.factor = shrink(NEAR * neck.strides[-1], input_size)
        self.box_loss, self.alpha, self.gamma, self.class_loss = box_loss, alpha, gamma, class_loss
        channels = neck.fpn.layer_blocks[0][0].out_channels
        self.classification_head = FCOSClassificationHead(channels, 1, num_classes, norm_layer=group_norm)
        self.regression_head = FCOSRegressionHead(channels, 1, norm_layer=group_norm)
        self.coder = BoxLinearCoder(normalize_by_size=True)

    def heads(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`DenseDetector.heads`."""
        codes, centerness = self.regression_head(levels)
        return self.classification_head(levels), codes, centerness

    def scores(self, raw: DenseRaw) -> Tensor:
        """See :meth:`DenseDetector.scores`; the geometric mean of the class's and of centerness, as torchvision's."""
        centerness = cast("Tensor", raw.centerness)
        return (raw.logits.sigmoid() * centerness.sigmoid()).sqrt()

    def boxes(self, codes: Tensor, anchors: Tensor) -> Tensor:
        """See :meth:`DenseDetector.boxes`."""
        return cast("Tensor", self.coder.decode(codes, anchors))

    def output_layers(self) -> list[nn.Module]:
        """See :meth:`Detector.output_layers`."""
        return [
            self.classification_head.cls_logits, self.regression_head.bbox_reg, self.regression_head.bbox_ctrness
        ]  # fmt: skip

    def match(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """(M,) index of the box that each place shall give, the smallest of several; -1 for background.

        Args:
            boxes: (N, 4).
            anchors: (M, 4) squares of a stride's side about their place.
        """
        places = (anchors[:, None, :2] + anchors[:, None, 2:]) / 2  # (M, 1, 2)
        stride = anchors[:, 2:3] - anchors[:, :1]  # (M, 1)
        sides = torch.cat([places - boxes[:, :2], boxes[:, 2:] - places], dim=2)  # (M, N, 4)
        off_centre = (places - (boxes[:, :2] + boxes[:, 2:]) / 2).abs().amax(dim=2)
        farthest = sides.amax(dim=2)
        lower = NEAR * self.factor * stride * (stride > self.strides[0])
        upper = torch.where(stride < self.strides[-1], FAR * self.factor * stride, torch.inf)
        matches = (off_centre < RADIUS * stride) & (sides.amin(dim=2) > 0) & (farthest > lower) & (farthest < upper)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        smallest, match = torch.where(matches, area, torch.inf).min(dim=1)
        return torch.where(smallest.isfinite(), match, Matcher.BELOW_LOW_THRESHOLD)

    def loss(self, raw: Raw, boxes: list[Tensor], labels: list[Tensor]) -> dict[str, Tensor]:
        """``classification``, ``box`` and ``centerness``; see :meth:`Detector.loss`."""
        raw = cast("DenseRaw", raw.float())
        with torch.autocast(raw.logits.device.type, enabled=False):
            anchors = torch.cat(self.grid(raw.grids))
            truth = assign(self.match, anchors, boxes, labels)
            wanted = truth.classes(self.num_classes)
            if self.class_loss is not None:
                cost = self.class_loss(raw.logits, wanted).sum()
            else:
                cost = sigmoid_focal_loss(raw.logits, wanted, self.alpha, self.gamma, reduction="sum")
            # A loss of the user's need have no gradient where a box is already right.
            all_ = anchors.is_cuda and isinstance(self.box_loss, str)
            guesses = cast("Tensor", raw.centerness)[..., 0]
            found = pairs(truth, anchors, raw.codes, guesses, all_=all_, itself=HALF)
            box = overlap_loss(self.box_loss, self.boxes(found.codes, found.anchors), found.boxes, found.weight)
            sides = self.coder.encode(found.anchors, found.boxes)
            opposite = torch.stack([sides[:, 0::2], sides[:, 1::2]])  # left and right, top and bottom
            central = (opposite.amin(dim=2) / opposite.amax(dim=2)).prod(dim=0).sqrt()
            guessed = cast("Tensor", found.further)
            centerness = weighed(F.binary_cross_entropy_with_logits, guessed, central, weight=found.weight)
            share = shares(truth.positive.sum()[None])[0]
            return {"classification": cost / share, "box": box / share, "centerness": centerness / share}
