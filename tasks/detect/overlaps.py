"""Losses of overlapping boxes as torchvision has them, without a moment in which the host waits for a GPU.

torchvision's own take the boxes that overlap by an index of bool, and its coder brings a number from the host: each of
these halts the launches of a step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPS = 1e-7  # torchvision's


def each_overlap_loss(name: str, found: Tensor, wanted: Tensor) -> Tensor:
    """The loss of each pair of boxes.

    Args:
        name: ``giou``, ``diou`` or ``ciou``; see :func:`tasks.detect.losses.box_loss`.
        found: (P, 4) xyxy.
        wanted: (P, 4) xyxy, sides above 0.

    Returns:
        (P,) from 0. Of a box without height, where torchvision's CIoU is no number, the shape is taken as flat.
    """
    own, true = found[:, 2:] - found[:, :2], wanted[:, 2:] - wanted[:, :2]
    shared = torch.min(found[:, 2:], wanted[:, 2:]) - torch.max(found[:, :2], wanted[:, :2])
    both = _area(shared.clamp_min(0.0))
    union = _area(own) + _area(true) - both
    iou = both / (union + EPS)
    hull = torch.max(found[:, 2:], wanted[:, 2:]) - torch.min(found[:, :2], wanted[:, :2])
    if name == "giou":
        area = _area(hull)
        return 1 - iou + (area - union) / (area + EPS)
    centres = (found[:, :2] + found[:, 2:] - wanted[:, :2] - wanted[:, 2:]) / 2
    loss = 1 - iou + centres.square().sum(dim=1) / (hull.square().sum(dim=1) + EPS)
    if name == "diou":
        return loss
    slope, flat = true[:, 0] / true[:, 1], own[:, 0] / own[:, 1].clamp_min(EPS)
    shape = 4 / math.pi**2 * (slope.atan() - flat.atan()).square()
    with torch.no_grad():
        share = shape / (1 - iou + shape + EPS)
    return loss + share * shape


def _area(sides: Tensor) -> Tensor:
    """(P,) product of (P, 2): the gradient of ``prod`` asks the device whether there is a 0."""
    width, height = sides.unbind(dim=1)
    return width * height


def decode(codes: Tensor, anchors: Tensor, scales: tuple[float, ...], clip: float) -> Tensor:
    """What torchvision's ``BoxCoder.decode_single`` gives for one box an anchor.

    Args:
        codes: (P, 4).
        anchors: (P, 4) xyxy.
        scales: the coder's ``weights``.
        clip: its ``bbox_xform_clip``.

    Returns:
        (P, 4) xyxy.
    """
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = anchors[:, :2] + 0.5 * sides
    moved = torch.stack([codes[:, 0] / scales[0], codes[:, 1] / scales[1]], dim=1) * sides + centres
    grown = torch.stack([codes[:, 2] / scales[2], codes[:, 3] / scales[3]], dim=1).clamp(max=clip).exp() * sides
    return torch.cat([moved - 0.5 * grown, moved + 0.5 * grown], dim=1)
