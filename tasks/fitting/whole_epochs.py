"""A run with ``--trainer.max_steps`` goes on after whole epochs."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class WholeEpochs(Callback):
    """Makes Lightning take a checkpoint from the end of an epoch for one, also where the training is counted in steps.

    It takes every checkpoint of such a training for one from the middle of an epoch, and lets the epoch that is over
    end once more: it would be counted twice, and its row in ``metrics.csv`` replaced by an empty one.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before the state of the loops is read."""
        loop: Any = trainer.fit_loop
        loop._iteration_based_training = lambda: False
