"""RetinaNet."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead
from torchvision.ops import box_iou, sigmoid_focal_loss

from tasks.detect.anchors import AnchorGrid, AnchorTable
from tasks.detect.dense import DenseDetector, DenseRaw, SilentMatcher, assign, pairs
from tasks.detect.fpn import Neck, group_norm
from tasks.detect.interface import Raw
from tasks.detect.losses import box_loss, shares
from tasks.detect.own_losses import OwnBoxLoss, OwnClassLoss


class RetinaNet(DenseDetector):
    """Focal loss over dense anchors (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017).

    Heads, matching (IoU of 0.5 and 0.4, and at least one anchor a box) and coding are torchvision's. Unlike it, the
    losses are divided by the positives of the whole batch, as the paper's are, not image by image: there an image with
    one small lesion weighs as much as one with a hundred cells.

    Args:
        neck: see :class:`DenseDetector`.
        num_classes: without background.
        table: anchors of each level.
        box_loss: see :func:`tasks.detect.losses.box_loss`.
        alpha: weight of positives in the focal loss; negatives have 1 - alpha.
        gamma: focusing exponent.
        class_loss: of the user's, instead of the focal loss.
    """

    def __init__(
        self,
        neck: Neck,
        num_classes: int,
        table: AnchorTable,
        *,
        box_loss: str | OwnBoxLoss,
        alpha: float,
        gamma: float,
        class_loss: OwnClassLoss | None = None,
    ) -> None:
        super().__init__(neck, AnchorGrid(neck.strides, table.shapes), num_classes)
        self.table = table
        self.box_loss, self.alpha, self.gamma, self.class_loss = box_loss, alpha, gamma, class_loss
        channels = neck.fpn.layer_blocks[0][0].out_channels
        self.classification_head = RetinaNetClassificationHead(
            channels, self.grid.count, num_classes, norm_layer=group_norm
        )
        self.regression_head = RetinaNetRegressionHead(channels, self.grid.count, norm_layer=group_norm)
        self.coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self.matcher = SilentMatcher(0.5, 0.4, allow_low_quality_matches=True)

    def heads(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, None]:
        """See :meth:`DenseDetector.heads`."""
        return self.classification_head(levels), self.regression_head(levels), None

    def scores(self, raw: DenseRaw) -> Tensor:
        """See :meth:`DenseDetector.scores`."""
        return raw.logits.sigmoid()

    def boxes(self, codes: Tensor, anchors: Tensor) -> Tensor:
        """See :meth:`DenseDetector.boxes`."""
        return cast("Tensor", self.coder.decode_single(codes, anchors))

    def output_layers(self) -> list[nn.Module]:
        """See :meth:`Detector.output_layers`."""
        return [self.classification_head.cls_logits, self.regression_head.bbox_reg]

    def loss(self, raw: Raw, boxes: list[Tensor], labels: list[Tensor]) -> dict[str, Tensor]:
        """``classification`` and ``box``; see :meth:`Detector.loss`."""
        raw = cast("DenseRaw", raw.float())
        with torch.autocast(raw.logits.device.type, enabled=False):
            anchors = torch.cat(self.grid(raw.grids))
            truth = assign(lambda found, placed: self.matcher(box_iou(found, placed)), anchors, boxes, labels)
            wanted = truth.classes(self.num_classes)
            if self.class_loss is not None:
                cost = self.class_loss(raw.logits, wanted)
            else:
                cost = sigmoid_focal_loss(raw.logits, wanted, self.alpha, self.gamma)
            # A loss of the user's need have no gradient where a box is already right.
            found = pairs(truth, anchors, raw.codes, all_=anchors.is_cuda and isinstance(self.box_loss, str))
            box = box_loss(self.box_loss, self.coder, found.anchors, found.boxes, found.codes, found.weight)
            share = shares(truth.positive.sum()[None])[0]
            return {"classification": (cost.sum(dim=2) * truth.counted).sum() / share, "box": box / share}
