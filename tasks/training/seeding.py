"""Random seeds that a resumed run repeats."""

from __future__ import annotations

import random

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules.types import Batch


class SeedEpochs(Callback):
    """Seed every generator from (seed, epoch, rank) before the first batch of each training epoch.

    Dropout and the like then draw the same numbers whether a run went through or was killed and resumed, and other
    numbers on each rank.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Seed Python, NumPy and torch."""
        # Not on_train_epoch_start: Lightning leaves it out in the first epoch after a resume.
        if batch_idx > 0:
            return
        words = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank]).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        torch.manual_seed(int(words[2]))
