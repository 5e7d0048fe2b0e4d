"""Losses for masks. All compute in float32, over what is known, and divide by counts that all ranks share.

An empty target costs like any other: where a class is absent, each pixel called is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scansuite.errors import SuiteError, nearest
from tasks.distributed import mean_over_ranks, sum_over_ranks
from tasks.own.loss import OwnLoss

LossName = Literal["dice_ce", "cross_entropy", "dice", "focal", "tversky", "focal_tversky", "lovasz", "boundary"]

SMOOTH = 0.5  # pixels added to both sides of the Tversky index; with equal weights the usual 1 of the Dice coefficient
SMOOTHED = ("cross_entropy", "dice_ce", "boundary")  # what has a cross-entropy whose target can be smoothed
GAMMA = {"focal": 2.0, "focal_tversky": 0.75}  # of the papers


class SegmentationLoss(nn.Module):
    """The loss of a batch of index masks or of masks of regions that may overlap.

    - ``cross_entropy``: softmax over classes, or binary for each region;
    - ``focal``: the same, focused on what is hard (Lin et al., ICCV 2017);
    - ``dice``: 1 - soft Dice (Milletari et al., V-Net, 3DV 2016);
    - ``dice_ce``: the sum of Dice and cross-entropy (Isensee et al., nnU-Net, Nature Methods 2021);
    - ``tversky``: Dice with weights of their own for false calls and for misses (Salehi et al., MLMI 2017);
    - ``focal_tversky``: (1 - Tversky index) ^ gamma (Abraham and Khan, ISBI 2019);
    - ``lovasz``: the convex surrogate of 1 - IoU (Berman et al., CVPR 2018), by image;
    - ``boundary``: ``dice_ce`` and the distances of called pixels to the true boundary (Kervadec et al., MIDL 2019),
      as a share of the longer side of the image. The distances are computed on the CPU.

    In index masks class 0 is background, which counts in cross-entropy and focal loss alone.

    Args:
        num_classes: classes with background, or regions.
        name: of the loss.
        overlapping: masks are (B, L, H, W) with 0 and 1, one for each region, instead of (B, H, W) class numbers.
        ignore_index: value of pixels without annotation; they bear on nothing.
        class_weights: weight of each class, background first; of regions, also of their positive pixels.
        label_smoothing: share of the target spread over all classes in cross-entropy (Szegedy et al., CVPR 2016).
        batch_dice: Dice and Tversky from the sums over all images of a batch and all ranks; else by image.
        gamma: focusing exponent of the focal losses; left out: 2 for ``focal``, 0.75 for ``focal_tversky``.
        alpha: weight of false calls in the Tversky losses, that of misses being 1 - alpha.
        boundary_weight: of the boundary term.

    Raises:
        SuiteError: a number is out of its range, or does not belong to this loss.
    """

    weights: Tensor

    def __init__(
        self,
        num_classes: int,
        name: LossName | str = "dice_ce",
        *,
        overlapping: bool = False,
        ignore_index: int = 255,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        batch_dice: bool = True,
        gamma: float | None = None,
        alpha: float = 0.3,
        boundary_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if name not in get_args(LossName):
            raise SuiteError(f"--model.loss {name!r} is unknown: {nearest(name, get_args(LossName))}")
        if gamma is not None and (name not in GAMMA or gamma <= 0):
            raise SuiteError(f"--model.focal_gamma {gamma}: a number above 0, for {' and '.join(GAMMA)} alone")
        if not 0 <= label_smoothing < 1:
            raise SuiteError(f"--model.label_smoothing {label_smoothing}: must be at least 0 and below 1")
        if label_smoothing and name not in SMOOTHED:
            raise SuiteError(f"--model.label_smoothing: the {name} loss takes none; {', '.join(SMOOTHED)} do")
        if not 0 < alpha < 1:
            raise SuiteError(f"--model.tversky_alpha {alpha}: must lie between 0 and 1")
        if boundary_weight < 0:
            raise SuiteError(f"--model.boundary_weight {boundary_weight}: must be at least 0")
        given = [1.0] * num_classes if class_weights is None else list(class_weights)
        first = 0 if overlapping else 1
        if len(given) != num_classes or min(given) < 0 or not sum(given[first:]):
            raise SuiteError(
                f"--model.class_weights {given}: needs {num_classes} numbers of at least 0, and one above 0 beside "
                "the background's"
            )
        self.num_classes, self.name, self.overlapping, self.ignore_index = num_classes, name, overlapping, ignore_index
        self.batch_dice, self.alpha, self.boundary_weight = batch_dice, alpha, boundary_weight
        self.smoothing = label_smoothing
        self.gamma = GAMMA.get(name, 1.0) if gamma is None else gamma
        self.register_buffer("weights", torch.tensor(given, dtype=torch.float32), persistent=False)

    def forward(self, output: Tensor, mask: Tensor, coarser: Sequence[Tensor] = ()) -> Tensor:
        """The loss of a batch.

        Args:
            output: (B, num_classes, H, W) logits.
            mask: (B, H, W) int64 class numbers, or (B, L, H, W) regions.
            coarser: logits at strides 2, 4, ... for deep supervision. Each counts half as much as the one before, as
                in nnU-Net, against the nearest pixels of the mask.

        Returns:
            () float32; 0 where nothing is known.
        """
        with torch.autocast(output.device.type, enabled=False):
            return _over_scales(self._scale, output, mask, coarser)

    def _scale(self, logits: Tensor, mask: Tensor) -> Tensor:
        if self.name in ("cross_entropy", "focal"):
            return self._pixels(logits, mask)
        if self.overlapping:
            known = mask != self.ignore_index
            truth, weights = known & (mask > 0), self.weights
            called = logits.sigmoid()
        else:
            known = (mask != self.ignore_index)[:, None]
            classes = torch.arange(1, self.num_classes, device=mask.device)[:, None, None]
            truth, weights = mask[:, None] == classes, self.weights[1:]
            called = logits.softmax(dim=1)[:, 1:]
        called = called * known
        if self.name == "lovasz":
            return _mean_of_images(_lovasz(called, truth), known, weights)
        if self.name in ("tversky", "focal_tversky"):
            return self._overlap(called, truth, known, weights, self.alpha)
        loss = self._overlap(called, truth, known, weights, alpha=0.5)
        if self.name == "dice":
            return loss
        loss = loss + self._pixels(logits, mask)
        if self.name == "boundary":
            weights = weights[:, None, None]
            distance = signed_distance(truth) / max(truth.shape[-2:])
            total = (called * distance * weights).sum()
            loss = loss + self.boundary_weight * mean_over_ranks(total, (known * weights).sum())
        return loss

    def _pixels(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Cross-entropy or focal loss: the mean over known pixels, weighted by class."""
        known = mask != self.ignore_index
        gamma = self.gamma if self.name == "focal" else 0.0
        if self.overlapping:
            truth = (known & (mask > 0)).float() * (1 - self.smoothing) + self.smoothing / 2
            log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
            cell = -truth * self.weights[:, None, None] * (gamma * log_q).exp() * log_p
            cell = cell - (1 - truth) * (gamma * log_p).exp() * log_q
            return mean_over_ranks((cell * known).sum(), known.sum())
        number = torch.where(known, mask, 0)
        log_all = logits.log_softmax(dim=1)
        log_p = log_all.gather(1, number[:, None]).squeeze(1)
        weight = self.weights[number] * known
        # Never quite 0, where a gamma below 1 has no finite slope.
        focus = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny) ** gamma if gamma else 1.0
        total = -(focus * weight * log_p).sum()
        if self.smoothing:
            spread = -(self.weights[:, None, None] * log_all * known[:, None]).sum() / self.num_classes
            total = (1 - self.smoothing) * total + self.smoothing * spread
        return mean_over_ranks(total, weight.sum())

    def _overlap(self, called: Tensor, truth: Tensor, known: Tensor, weights: Tensor, alpha: float) -> Tensor:
        """1 - Tversky index, the mean over classes; at alpha 0.5 it is 1 - Dice."""
        both, calls, true = (called * truth).sum((2, 3)), called.sum((2, 3)), truth.float().sum((2, 3))
        if self.batch_dice:
            both, calls, true = sum_over_ranks(torch.stack([both.sum(0), calls.sum(0), true.sum(0)]))
        index = (both + SMOOTH) / (both + alpha * (calls - both) + (1 - alpha) * (true - both) + SMOOTH)
        value = 1 - index
        if self.name == "focal_tversky":
            # At 0 a power below 1 has no finite slope.
            value = torch.where(value > 1e-6, value.clamp_min(1e-6) ** self.gamma, torch.zeros_like(value))
        if self.batch_dice:
            return (value * weights).sum() / weights.sum()
        return _mean_of_images(value, known, weights)


class OwnSegmentationLoss(OwnLoss):
    """A loss of the user's: its ``forward(logits, mask)`` takes what :class:`SegmentationLoss` takes, and gives ()."""

    def forward(self, output: Tensor, mask: Tensor, coarser: Sequence[Tensor] = ()) -> Tensor:
        """See :meth:`SegmentationLoss.forward`."""
        return _over_scales(super().forward, output, mask, coarser)


def _over_scales(
    loss: Callable[[Tensor, Tensor], Tensor], output: Tensor, mask: Tensor, coarser: Sequence[Tensor]
) -> Tensor:
    """() weighted mean of a loss over logits of several scales; see :meth:`SegmentationLoss.forward`."""
    total = loss(output.float(), mask)
    for power, logits in enumerate(coarser, start=1):
        small = mask[..., :: 2**power, :: 2**power]
        height, width = small.shape[-2:]  # of the image, without its padding
        total = total + loss(logits[..., :height, :width].float(), small) / 2**power
    return total / sum(0.5**power for power in range(len(coarser) + 1))


def _mean_of_images(value: Tensor, known: Tensor, weights: Tensor) -> Tensor:
    """() weighted mean of (B, K) values over the images of all ranks of which anything is known."""
    weight = known.flatten(2).any(dim=2) * weights
    return mean_over_ranks((value * weight).sum(), weight.sum())


def _lovasz(called: Tensor, truth: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss (Berman et al., CVPR 2018, algorithm 1).

    Args:
        called: (B, K, H, W) probabilities, 0 where nothing is known.
        truth: (B, K, H, W) bool.

    Returns:
        (B, K). An absent class, which the authors' code skips by default, gives its highest probability.
    """
    error, order = (truth.float() - called).abs().flatten(2).sort(dim=2, descending=True)
    hit = truth.flatten(2).gather(2, order).float()
    count = hit.sum(dim=2, keepdim=True)
    jaccard = 1 - (count - hit.cumsum(dim=2)) / (count + (1 - hit).cumsum(dim=2))
    slope = torch.cat([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], dim=2)
    return (error * slope).sum(dim=2)


def signed_distance(truth: Tensor) -> Tensor:
    """Distance of each pixel to the boundary, in pixels: outside above 0, on the last pixels inside 0, deeper below 0.

    0 throughout where a mask is empty or full: it has no boundary.

    Args:
        truth: (B, K, H, W) bool.
    """
    from scipy.ndimage import distance_transform_edt

    masks = truth.cpu().numpy()
    distance = np.zeros(masks.shape, dtype=np.float32)
    for place in np.ndindex(masks.shape[:2]):
        mask = masks[place]
        if mask.any() and not mask.all():
            distance[place] = distance_transform_edt(~mask) - (distance_transform_edt(mask) - 1) * mask
    return torch.from_numpy(distance).to(truth.device)
