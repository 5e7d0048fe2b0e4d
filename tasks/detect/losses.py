"""Losses of boxes, and what they are divided by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection._utils import encode_boxes
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from scansuite.errors import SuiteError, nearest
from tasks.detect.overlaps import decode, each_overlap_loss
from tasks.detect.own_losses import OwnBoxLoss
from tasks.distributed import sum_over_ranks

if TYPE_CHECKING:
    from torchvision.models.detection._utils import BoxCoder

BoxLoss = Literal["auto", "l1", "smooth_l1", "giou", "diou", "ciou"]

BETA = 1 / 9  # where smooth L1 turns linear, as in Faster R-CNN and RetinaNet
OVERLAP_LOSSES = {"giou": generalized_box_iou_loss, "diou": distance_box_iou_loss, "ciou": complete_box_iou_loss}


def overlap_loss(loss: str | OwnBoxLoss, found: Tensor, wanted: Tensor, weight: Tensor | None = None) -> Tensor:
    """() sum of what compares boxes: one of :data:`OVERLAP_LOSSES`, or the user's.

    Args:
        loss: which one.
        found: (P, 4) xyxy.
        wanted: (P, 4) xyxy, sides above 0.
        weight: (P,) of each, with a loss of the suite's; None: 1.
    """
    if isinstance(loss, str) and weight is not None:
        return (each_overlap_loss(loss, found, wanted) * weight).sum()
    if loss == "ciou":  # torchvision's is no number for a box without height, which FCOS may give
        return each_overlap_loss(loss, found, wanted).sum()
    summed: Tensor = (OVERLAP_LOSSES[loss] if isinstance(loss, str) else loss)(found, wanted, reduction="sum")
    return summed


def check_losses(detector: str, box_loss: str | OwnBoxLoss, alpha: float, gamma: float) -> None:
    """Refuse what a detector cannot train with.

    Raises:
        SuiteError: names the flag.
    """
    if isinstance(box_loss, str) and box_loss not in get_args(BoxLoss):
        raise SuiteError(f"--model.box_loss {box_loss!r} is unknown: {nearest(box_loss, get_args(BoxLoss))}")
    if detector == "fcos" and isinstance(box_loss, str) and box_loss not in OVERLAP_LOSSES:
        raise SuiteError(f"--model.box_loss {box_loss}: fcos has no offsets to compare: take giou, diou or ciou")
    if not 0 <= alpha <= 1:
        raise SuiteError(f"--model.focal_alpha {alpha}: must lie between 0 and 1")
    if gamma < 0:
        raise SuiteError(f"--model.focal_gamma {gamma}: must be at least 0")


def box_loss(
    name: str | OwnBoxLoss,
    coder: BoxCoder,
    anchors: Tensor,
    truth: Tensor,
    codes: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    """The summed loss of boxes that belong together.

    - ``l1``, ``smooth_l1``: of the offsets from the anchor, as the coder writes them;
    - ``giou`` (Rezatofighi et al., CVPR 2019), ``diou`` and ``ciou`` (Zheng et al., AAAI 2020): of the boxes.

    Args:
        name: of the loss; or one of the user's, of the boxes.
        coder: torchvision's ``BoxCoder``.
        anchors: (P, 4) xyxy.
        truth: (P, 4) xyxy, sides above 0.
        codes: (P, 4) predicted offsets.
        weight: (P,) of each; None: 1.

    Returns:
        () 0, with a gradient of 0, where P is 0.
    """
    if not isinstance(name, str) or name in OVERLAP_LOSSES:
        if weight is None:
            return overlap_loss(name, coder.decode_single(codes, anchors), truth)
        return overlap_loss(name, decode(codes, anchors, coder.weights, coder.bbox_xform_clip), truth, weight)
    # What the coder's own method does, but for its weights, which that brings from the host each time.
    scales = torch.stack([anchors.new_full((), scale) for scale in coder.weights])
    wanted = encode_boxes(truth, anchors, scales)
    if name == "l1":
        return weighed(F.l1_loss, codes, wanted, weight=weight)
    return weighed(partial(F.smooth_l1_loss, beta=BETA), codes, wanted, weight=weight)


def weighed(loss: Callable[..., Tensor], found: Tensor, wanted: Tensor, *, weight: Tensor | None) -> Tensor:
    """() sum of a loss over (P, ...) values of things that weigh (P,); None: each 1."""
    if weight is None:
        return loss(found, wanted, reduction="sum")
    each = loss(found, wanted, reduction="none")
    return (each.flatten(1).sum(dim=1) * weight if each.ndim > 1 else each * weight).sum()


def shares(counts: Tensor) -> Tensor:
    """What a rank divides its sums by, so that averaging gradients over ranks gives the gradient of one process.

    That is the mean count of the ranks, where no count of all ranks together is taken as less than 1: background must
    cost something, but not everything, in a batch without a positive. (``mean_over_ranks`` has no such floor.)

    Args:
        counts: (K,) counts of this rank: positives, samples.

    Returns:
        (K,) float32 without gradient.
    """
    summed = sum_over_ranks(torch.cat([counts.detach().float(), counts.new_ones(1).float()]))
    return summed[:-1].clamp_min(1.0) / summed[-1]
