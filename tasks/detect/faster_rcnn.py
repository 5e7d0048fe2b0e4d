"""Faster R-CNN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, permute_and_flatten
from torchvision.ops import MultiScaleRoIAlign, box_iou

from tasks.detect.anchors import AnchorGrid, AnchorTable
from tasks.detect.dense import assign
from tasks.detect.fpn import Neck, grids_of
from tasks.detect.interface import DecodeSettings, Detections, Detector, Raw
from tasks.detect.losses import box_loss, shares
from tasks.detect.nms import select
from tasks.detect.own_losses import OwnBoxLoss
from tasks.precision import in_double

POOLED = 7  # pixels a side of a region
WIDTH = 1024  # of the two layers behind it


@dataclass(frozen=True)
class TwoStageRaw(Raw):
    """Output of the first stage, and what the second looks at.

    Attributes:
        levels: (B, channels, h, w) of the neck, without the coarsest, which proposes alone.
        objectness: (B, M) logit of each anchor.
        offsets: (B, M, 4) of the box, from the anchor.
    """

    levels: list[Tensor]
    objectness: Tensor
    offsets: Tensor


class FasterRcnn(Detector):
    """Proposals, and a second look at each (Ren et al., NeurIPS 2015; with a pyramid: Lin et al., CVPR 2017).

    Both stages are torchvision's, thresholds and numbers of proposals included: its region proposal network, and its
    RoI heads on regions of 7x7 pixels. Background is class 0 inside. The second stage runs in :meth:`loss`, on regions
    sampled about the true boxes, and in :meth:`decode`, on the proposals.

    Losses are divided by the samples of all ranks' images. In evaluation mode the samples are the same each time, and
    the stream of random numbers is left alone.

    Args:
        neck: from the backbone's levels to the heads'.
        num_classes: without background.
        table: anchors of each level.
        box_loss: of both stages; see :func:`tasks.detect.losses.box_loss`.
        samples: regions of an image that the second stage trains on.
    """

    def __init__(
        self, neck: Neck, num_classes: int, table: AnchorTable, *, box_loss: str | OwnBoxLoss, samples: int
    ) -> None:
        super().__init__()
        self.neck, self.table, self.box_loss = neck, table, box_loss
        self.strides, self.num_classes = neck.strides, num_classes
        grid = AnchorGrid(neck.strides, table.shapes)
        channels = neck.fpn.layer_blocks[0][0].out_channels
        self.rpn = RegionProposalNetwork(
            grid,
            RPNHead(channels, grid.count),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": 2000, "testing": 1000},
            nms_thresh=0.7,
        )
        names = [str(level) for level in range(len(self.strides) - 1)]
        self.roi_heads = RoIHeads(
            MultiScaleRoIAlign(names, output_size=POOLED, sampling_ratio=2),
            TwoMLPHead(channels * POOLED**2, WIDTH),
            FastRCNNPredictor(WIDTH, num_classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=samples,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            # Of torchvision's own decoding, which is not used.
            score_thresh=0.0,
            nms_thresh=0.5,
            detections_per_img=100,
        )

    def forward(self, image: Tensor, levels: list[Tensor]) -> TwoStageRaw:
        """See :meth:`Detector.forward`."""
        maps = self.neck(levels)
        size, count = (image.shape[-2], image.shape[-1]), self.rpn.anchor_generator.count
        logits, offsets = (
            torch.cat([permute_and_flatten(level, len(image), count, width, *level.shape[-2:]) for level in part], 1)
            for part, width in zip(self.rpn.head(maps), (1, 4), strict=True)
        )
        return TwoStageRaw(size, grids_of(maps), maps[:-1], logits[..., 0], offsets)

    def output_layers(self) -> list[nn.Module]:
        """See :meth:`Detector.output_layers`; the second stage, which is not in ``forward``, reads the neck's maps."""
        neck = [module for block in self.neck.fpn.layer_blocks for module in block.modules()]
        return [*neck, self.rpn.head.cls_logits, self.rpn.head.bbox_pred]

    def loss(self, raw: Raw, boxes: list[Tensor], labels: list[Tensor]) -> dict[str, Tensor]:
        """``objectness`` and ``proposal_box``, ``classification`` and ``box``; see :meth:`Detector.loss`."""
        raw = cast("TwoStageRaw", raw.float())
        boxes = [found.float() for found in boxes]
        device = raw.objectness.device
        with self._same_samples(device):
            with torch.autocast(device.type, enabled=False):
                first, counts = self._first_stage(raw, boxes, labels)
                proposals, matches, named, _ = self._regions(raw, boxes, labels)
            logits, codes = self._second_stage(raw, proposals)
        with torch.autocast(device.type, enabled=False):
            logits, codes = logits.float(), codes.float()
            found = torch.cat([raw.offsets.new_zeros(0, 4), *map(_taken, boxes, matches)])
            truth = torch.cat([matches[0].new_zeros(0), *named]) if matches else logits.new_zeros(0, dtype=torch.int64)
            placed = torch.cat([raw.offsets.new_zeros(0, 4), *proposals])
            positive = (truth > 0).nonzero()[:, 0]
            second = {
                "classification": F.cross_entropy(logits, truth, reduction="sum"),
                "box": box_loss(
                    self.box_loss,
                    self.roi_heads.box_coder,
                    placed[positive],
                    found[positive],
                    codes.reshape(len(codes), self.num_classes + 1, 4)[positive, truth[positive]],
                ),
            }
            of_anchors, of_regions = shares(torch.stack([counts, counts.new_tensor(len(truth))]))
            parts = {name: part / of_anchors for name, part in first.items()}
            return parts | {name: part / of_regions for name, part in second.items()}

    @torch.no_grad()
    def decode(
        self, raw: Raw, settings: DecodeSettings, sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Detections]:
        """See :meth:`Detector.decode`."""
        raw = cast("TwoStageRaw", raw.float())
        with torch.autocast(raw.objectness.device.type, enabled=False):
            proposals = self._proposals(raw)
            logits, codes = self._second_stage(raw, proposals)
            counts = [len(regions) for regions in proposals]
            classes = torch.arange(self.num_classes, device=logits.device)
            detections = []
            parts = (torch.split(all_, counts) for all_ in (in_double(logits).softmax(dim=1), codes))
            for image, (scores, offsets) in enumerate(zip(*parts, strict=True)):
                boxes = self.roi_heads.box_coder.decode_single(offsets, proposals[image])
                # Every class of every region is a box of its own; background is none.
                flat = scores[:, 1:].flatten()
                best, place = flat.topk(min(settings.pre_nms_top, len(flat)))
                chosen = boxes.reshape(-1, self.num_classes + 1, 4)[:, 1:].reshape(-1, 4)[place]
                named = classes.expand(counts[image], -1).flatten()[place]
                detections.append(select(chosen, best, named, sizes[image] if sizes else raw.size, settings))
            return detections

    @torch.no_grad()
    def candidates(self, raw: Raw) -> tuple[Tensor, Tensor, Tensor]:
        """Everything that :meth:`decode` chooses from, of the first image of a batch.

        Returns:
            (P, 4) regions that were looked at a second time, (P, C, 4) the box of each class, (P, C) its score.
        """
        raw = cast("TwoStageRaw", raw.float())
        regions = self._proposals(raw)[0]
        logits, codes = self.region_output(raw, regions)
        boxes = self.roi_heads.box_coder.decode_single(codes[0], regions).reshape(len(regions), -1, 4)
        return regions, boxes[:, 1:], logits[0].softmax(dim=1)[:, 1:]

    def region_output(self, raw: Raw, regions: Tensor) -> tuple[Tensor, Tensor]:
        """What the second stage says of (R, 4) the same regions of each image, with gradient.

        Returns:
            (B, R, C + 1) logits, background first, and (B, R, 4 * (C + 1)) codes of boxes.
        """
        raw = cast("TwoStageRaw", raw.float())
        batch = len(raw.objectness)
        logits, codes = self._second_stage(raw, [regions] * batch)
        return logits.reshape(batch, len(regions), -1), codes.reshape(batch, len(regions), -1)

    def _first_stage(
        self, raw: TwoStageRaw, boxes: list[Tensor], labels: list[Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Summed losses of sampled anchors, and how many were sampled."""
        anchors = torch.cat(self.rpn.anchor_generator(raw.grids))
        truth = assign(lambda found, placed: self.rpn.proposal_matcher(box_iou(found, placed)), anchors, boxes, labels)
        wanted = torch.where(truth.counted, truth.positive.float(), -1.0)
        chosen, background = (
            torch.stack(masks).bool() if masks else torch.zeros_like(truth.positive)
            for masks in self.rpn.fg_bg_sampler(list(wanted))
        )
        sampled = chosen | background
        losses = {
            "objectness": F.binary_cross_entropy_with_logits(raw.objectness[sampled], wanted[sampled], reduction="sum"),
            "proposal_box": box_loss(
                self.box_loss,
                self.rpn.box_coder,
                anchors.expand(len(sampled), -1, -1)[chosen],
                truth.boxes[chosen],
                raw.offsets[chosen],
            ),
        }
        return losses, sampled.sum()

    @torch.no_grad()
    def _proposals(self, raw: TwoStageRaw) -> list[Tensor]:
        """(P, 4) boxes of each image that may show something; there may be none."""
        batch = len(raw.objectness)
        if not batch:
            return []
        levels = self.rpn.anchor_generator(raw.grids)
        proposals = self.rpn.box_coder.decode(raw.offsets, [torch.cat(levels)] * batch)[:, 0].reshape(batch, -1, 4)
        counts = [len(level) for level in levels]
        found: list[Tensor] = self.rpn.filter_proposals(proposals, raw.objectness, [raw.size] * batch, counts)[0]
        return found

    @torch.no_grad()
    def _regions(
        self, raw: TwoStageRaw, boxes: list[Tensor], labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Sampled regions of each image, the box and the class (0 = background) of each, and torchvision's targets."""
        proposals = self._proposals(raw)
        if not proposals:
            return [], [], [], []
        targets = [{"boxes": found, "labels": named + 1} for found, named in zip(boxes, labels, strict=True)]
        regions: tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
        regions = self.roi_heads.select_training_samples(proposals, targets)
        return regions

    def _second_stage(self, raw: TwoStageRaw, regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (R, C + 1) and codes (R, 4 * (C + 1)) of all regions of all images.

        Where there is none, the heads run on nothing: their parameters then have a gradient of 0, and not none.
        """
        if any(len(boxes) for boxes in regions):
            named = {str(level): map_ for level, map_ in enumerate(raw.levels)}
            pooled = self.roi_heads.box_roi_pool(named, regions, [raw.size] * len(regions))
        else:
            pooled = raw.levels[0].new_zeros(0, raw.levels[0].shape[1], POOLED, POOLED)
        logits, codes = self.roi_heads.box_predictor(self.roi_heads.box_head(pooled))
        return logits, codes

    @contextmanager
    def _same_samples(self, device: torch.device) -> Iterator[None]:
        """In evaluation mode: draw the same samples each time, and nothing from the random numbers of training."""
        if self.training:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield


def _taken(boxes: Tensor, matches: Tensor) -> Tensor:
    """(R, 4) the box of each region; zeros where an image has none."""
    return boxes[matches] if len(boxes) else boxes.new_zeros(len(matches), 4)
