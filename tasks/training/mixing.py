"""Mixup and CutMix: batches mixed with themselves."""

from __future__ import annotations

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from datamodules.base import ScanDataModule
from datamodules.types import Batch
from scansuite.random_streams import MIXING
from tasks.batches import cases_of_all
from tasks.distributed import count_ranks, from_batch_of_all


class Mixing(Callback):
    """Mixes the images of each training batch in pairs (Zhang et al., ICLR 2018; Yun et al., ICCV 2019).

    All pairs of a batch share one weight, as in the authors' code. The batch gets the label of the larger share as
    ``label``, that of the other as ``label_other``, and the larger share as ``label_share``; a loss is linear in the
    target, so it is the mean of the losses of both, weighted by the shares. Which is mixed with which derives from
    (seed, epoch, number of the batch): a resumed run mixes the same, which it would not with timm's and torchvision's,
    that draw from the global generators.

    On several devices the batch of all of them is mixed as one device mixes it, so that they train as one: each sends
    on as many images as it holds. Batches of a user's own loader, which may differ in size, are mixed on each device.

    Args:
        mixup: of Beta(a, a) from which mixup's weight is drawn; 0 or None: no mixup.
        cutmix: likewise for the area of CutMix's box; where both are given, each is taken for half of the batches.
        seed: of the run.
    """

    def __init__(self, mixup: float | None, cutmix: float | None, seed: int) -> None:
        self.mixup, self.cutmix, self.seed = mixup or 0.0, cutmix or 0.0, seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Mix a batch in place."""
        ranks, count = count_ranks(), None
        together = ranks > 1 and isinstance(getattr(trainer, "datamodule", None), ScanDataModule)
        rank = 0 if together else trainer.global_rank
        rng = np.random.default_rng([self.seed, trainer.current_epoch, rank, batch_idx, MIXING])
        if together:  # draws that fill up the last batch take no part, as they are not there on one device
            count = cases_of_all(batch, ranks, last=batch_idx + 1 >= trainer.num_training_batches)
        mix(batch, rng, self.mixup, self.cutmix, count=count)


def mix(batch: Batch, rng: np.random.Generator, mixup: float, cutmix: float, *, count: int | None = None) -> None:
    """Mix the images of a batch in pairs, in place.

    Args:
        batch: with ``image`` (B, C, H, W) and ``label`` (B, ...).
        rng: draws partners, weight and box.
        mixup: see :class:`Mixing`.
        cutmix: likewise.
        count: cases of all ranks' batches together, which are mixed as one batch; None: this batch is mixed by itself.
    """
    image, label = batch["image"], batch["label"]
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    alpha = cutmix if cuts else mixup
    other_image, other_label = _partners(image, label, rng, count)
    share = float(rng.beta(alpha, alpha))
    if cuts:
        height, width = image.shape[-2:]
        tall, wide = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
        y, x = int(rng.integers(height)), int(rng.integers(width))  # its centre; what lies outside is cut off
        top, left = max(0, y - tall // 2), max(0, x - wide // 2)
        bottom, right = min(height, y - tall // 2 + tall), min(width, x - wide // 2 + wide)
        mixed = image.clone()
        mixed[..., top:bottom, left:right] = other_image[..., top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        mixed = image.lerp(other_image, 1 - share)
    own, other = label, other_label
    if share < 0.5:
        own, other, share = other, own, 1 - share
    batch |= {"image": mixed, "label": own, "label_other": other}
    batch["label_share"] = torch.full((len(image),), share, device=image.device)


def _partners(image: Tensor, label: Tensor, rng: np.random.Generator, count: int | None) -> tuple[Tensor, Tensor]:
    """Image and label that each case of a batch is mixed with."""
    if count is None:
        partner = torch.from_numpy(rng.permutation(len(image)))
        if image.is_cuda:  # the host waits where memory is copied that is not pinned
            partner = partner.pin_memory().to(image.device, non_blocking=True)
        return image[partner], label[partner]
    everywhere = len(image) * torch.distributed.get_world_size()
    sources = [*map(int, rng.permutation(count)), *range(count, everywhere)]
    return from_batch_of_all(image, sources), from_batch_of_all(label, sources)
