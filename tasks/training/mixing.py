"""Mixup and CutMix: batches mixed with themselves."""

from __future__ import annotations

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules.types import Batch
from scansuite.random_streams import MIXING


class Mixing(Callback):
    """Mixes the images of each training batch in pairs (Zhang et al., ICLR 2018; Yun et al., ICCV 2019).

    All pairs of a batch share one weight, as in the authors' code. The batch gets the label of the larger share as
    ``label``, that of the other as ``label_other``, and the larger share as ``label_share``; a loss is linear in the
    target, so it is the mean of the losses of both, weighted by the shares. Which is mixed with which derives from
    (seed, epoch, rank, number of the batch): a resumed run mixes the same, which it would not with timm's and
    torchvision's, that draw from the global generators.

    Args:
        mixup: of Beta(a, a) from which mixup's weight is drawn; 0 or None: no mixup.
        cutmix: likewise for the area of CutMix's box; where both are given, each is taken for half of the batches.
        seed: of the run.
    """

    def __init__(self, mixup: float | None, cutmix: float | None, seed: int) -> None:
        self.mixup, self.cutmix, self.seed = mixup or 0.0, cutmix or 0.0, seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Mix a batch in place."""
        rng = np.random.default_rng([self.seed, trainer.current_epoch, trainer.global_rank, batch_idx, MIXING])
        mix(batch, rng, self.mixup, self.cutmix)


def mix(batch: Batch, rng: np.random.Generator, mixup: float, cutmix: float) -> None:
    """Mix the images of a batch in pairs, in place.

    Args:
        batch: with ``image`` (B, C, H, W) and ``label`` (B, ...).
        rng: draws partners, weight and box.
        mixup: see :class:`Mixing`.
        cutmix: likewise.
    """
    image, label = batch["image"], batch["label"]
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    alpha = cutmix if cuts else mixup
    partner = torch.from_numpy(rng.permutation(len(image))).to(image.device)
    share = float(rng.beta(alpha, alpha))
    if cuts:
        height, width = image.shape[-2:]
        tall, wide = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
        y, x = int(rng.integers(height)), int(rng.integers(width))  # its centre; what lies outside is cut off
        top, left = max(0, y - tall // 2), max(0, x - wide // 2)
        bottom, right = min(height, y - tall // 2 + tall), min(width, x - wide // 2 + wide)
        mixed = image.clone()
        mixed[..., top:bottom, left:right] = image[partner][..., top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        mixed = image.lerp(image[partner], 1 - share)
    own, other = label, label[partner]
    if share < 0.5:
        own, other, share = other, own, 1 - share
    batch |= {"image": mixed, "label": own, "label_other": other}
    batch["label_share"] = torch.full((len(image),), share, device=image.device)
