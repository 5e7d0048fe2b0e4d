"""Counts of pixels, and the metrics of an epoch during training.

Undefined figures are NaN and left out of means, as in the tables: Dice of a class that is neither there nor called,
sensitivity of one that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

NAMES = ("dice", "iou", "sensitivity", "specificity", "precision")


def count_pixels(
    prediction: Tensor, mask: Tensor, num_classes: int, *, overlapping: bool = False, ignore_index: int = 255
) -> Tensor:
    """True and false positives and negatives of each image and class.

    Args:
        prediction: (B, H, W) class numbers, or (B, L, H, W) with 0 and 1 for each region.
        mask: of the same shape; pixels of value ``ignore_index`` are not counted.
        num_classes: classes with background, or regions.
        overlapping: masks have one plane for each region.
        ignore_index: value of pixels without annotation.

    Returns:
        (B, K, 4) int64, pixels as (tp, fp, fn, tn); K are the classes but background, or the regions.
    """
    known = mask != ignore_index
    counts = []
    for number in range(0 if overlapping else 1, num_classes):
        valid = known[:, number] if overlapping else known
        truth = valid & (mask[:, number] > 0 if overlapping else mask == number)
        called = valid & (prediction[:, number] > 0 if overlapping else prediction == number)
        tp, calls, true, all_ = (plane.sum((1, 2)) for plane in (truth & called, called, truth, valid))
        counts.append(torch.stack([tp, calls - tp, true - tp, all_ - calls - true + tp], dim=1))
    return torch.stack(counts, dim=1)


def figures(counts: Tensor) -> Tensor:
    """(..., 4) counts as (tp, fp, fn, tn) -> (..., 5) float32 in the order of :data:`NAMES`; undefined is NaN."""
    tp, fp, fn, tn = counts.float().unbind(dim=-1)
    return torch.stack(
        [2 * tp / (2 * tp + fp + fn), tp / (tp + fp + fn), tp / (tp + fn), tn / (tn + fp), tp / (tp + fp)], dim=-1
    )


class SegmentationMetrics(Metric):
    """Dice, IoU, sensitivity, specificity and precision by class: of each image, then the mean over images.

    Where cases are volumes, an image is a slice here; the tables have the figures by volume.

    Args:
        class_names: all classes, background first; or the regions.
        overlapping: masks have one plane for each region.
        ignore_index: value of pixels without annotation.
    """

    full_state_update = False
    total: Tensor
    defined: Tensor
    images: Tensor

    def __init__(self, class_names: Sequence[str], *, overlapping: bool = False, ignore_index: int = 255) -> None:
        super().__init__()
        self.num_classes, self.overlapping, self.ignore_index = len(class_names), overlapping, ignore_index
        self.names = list(class_names if overlapping else class_names[1:])
        shape = (len(self.names), len(NAMES))
        self.add_state("total", default=torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("defined", default=torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("images", default=torch.zeros(()), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, mask: Tensor) -> None:
        """Count a batch: (B, H, W) class numbers and masks, or (B, L, H, W) regions."""
        values = figures(
            count_pixels(
                prediction, mask, self.num_classes, overlapping=self.overlapping, ignore_index=self.ignore_index
            )
        )
        self.total += values.nansum(dim=0)
        self.defined += (~values.isnan()).sum(dim=0)
        self.images += len(mask)

    def compute(self) -> dict[str, Tensor]:
        """Name of a metric -> (), float32; the mean over classes, and ``<metric>/<class>`` where there are several."""
        if self.images == 0:
            return {}
        means = self.total / self.defined  # 0 / 0 is NaN
        values = dict(zip(NAMES, means.nanmean(dim=0), strict=True))
        if len(self.names) > 1:
            for name, column in zip(NAMES, means.unbind(dim=1), strict=True):
                values |= {f"{name}/{label}": value for label, value in zip(self.names, column, strict=True)}
        return values
