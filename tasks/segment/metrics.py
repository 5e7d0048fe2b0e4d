"""Counts of pixels, and the metrics of an epoch during training.

Undefined values are NaN and left out of means, as in the tables: Dice of a class that is neither there nor called,
sensitivity of one that is not there. Precision of a class that is there and not called is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from tasks.distributed import gather

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


def from_counts(counts: Tensor) -> Tensor:
    """(..., 4) counts as (tp, fp, fn, tn) -> (..., 5) float64 in the order of :data:`NAMES`; undefined is NaN.

    Precision is 0 where the class is there and not called, as in the tables.
    """
    tp, fp, fn, tn = counts.double().unbind(dim=-1)
    precision = (tp / (tp + fp)).masked_fill((tp + fp == 0) & (fn > 0), 0.0)
    return torch.stack(
        [2 * tp / (2 * tp + fp + fn), tp / (tp + fp + fn), tp / (tp + fn), tn / (tn + fp), precision], dim=-1
    )


class SegmentationMetrics(Metric):
    """Dice, IoU, sensitivity, specificity and precision by class: of each case, then the mean over cases.

    The pixels of all slices of a volume are counted together, as in the tables, though on the model's grid. A mean over
    slices would hang on those that show a few pixels of a class, and choose a checkpoint badly.

    Args:
        class_names: all classes, background first; or the regions.
        overlapping: masks have one plane for each region.
        ignore_index: value of pixels without annotation.

    Attributes:
        images: how many this rank has seen.
        kept: what a run that goes on within an epoch has to know again.
    """

    full_state_update = False
    kept = ("images", "_counts")

    def __init__(self, class_names: Sequence[str], *, overlapping: bool = False, ignore_index: int = 255) -> None:
        super().__init__(sync_on_compute=False)  # ranks may share a case: counts are gathered by name below
        self.num_classes, self.overlapping, self.ignore_index = len(class_names), overlapping, ignore_index
        self.names = list(class_names if overlapping else class_names[1:])
        self.images = 0
        self._counts: list[tuple[Sequence[str] | None, Tensor]] = []

    def update(self, prediction: Tensor, mask: Tensor, cases: Sequence[str] | None = None) -> None:
        """Count a batch.

        Args:
            prediction: (B, H, W) class numbers, or (B, L, H, W) regions.
            mask: of the same shape.
            cases: (B,) names; None: each image is a case of its own.
        """
        counts = count_pixels(
            prediction, mask, self.num_classes, overlapping=self.overlapping, ignore_index=self.ignore_index
        )
        # Left where they are: to look at them here would make a GPU wait in each step.
        self._counts.append((cases, counts))
        self.images += len(mask)

    def compute(self) -> dict[str, Tensor]:
        """Name of a metric -> (), float32; the mean over classes, and ``<metric>/<class>`` where there are several."""
        by_case: dict[str | int, Tensor] = {}
        own = [(cases, counts.cpu()) for cases, counts in self._counts]
        for cases, counts in (part for rank in gather(own) for part in rank):
            unnamed = range(len(by_case), len(by_case) + len(counts))
            names: Sequence[str | int] = unnamed if cases is None else cases
            for case, count in zip(names, counts, strict=True):
                by_case[case] = by_case[case] + count if case in by_case else count
        if not by_case:
            return {}
        means = from_counts(torch.stack(list(by_case.values()))).nanmean(dim=0)
        values = dict(zip(NAMES, means.nanmean(dim=0), strict=True))
        if len(self.names) > 1:
            for name, column in zip(NAMES, means.unbind(dim=1), strict=True):
                values |= {f"{name}/{label}": value for label, value in zip(self.names, column, strict=True)}
        return {name: value.float() for name, value in values.items()}

    def reset(self) -> None:
        """Forget the images."""
        super().reset()
        self.images, self._counts = 0, []
