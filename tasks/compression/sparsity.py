"""Sparse training: weights that were pruned to 0 stay 0."""

from __future__ import annotations

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.types import STEP_OUTPUT
from torch import Tensor
from torch.optim import Optimizer

from datamodules.types import Batch
from tasks.compression.pruning import prunable_weights


class Sparsity(Callback):
    """Keeps every weight of a layer that is 0 at the start of the training at exactly 0.

    What is 0 is in the checkpoint itself: a run that goes on, or another one that starts from a pruned checkpoint,
    finds its zeros there. Gradients are cut off before each step, so that they bear neither on clipping nor on
    momentum, and the weights are set to 0 again after it, whatever an optimiser mixes. ``torch.nn.utils.prune`` keeps a
    mask beside each weight instead, under other names: no other code could load the checkpoint.
    """

    def __init__(self) -> None:
        self.masks: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note which weights are 0."""
        weights = prunable_weights(pl_module).items()
        self.masks = {name: weight.detach() != 0 for name, weight in weights if bool((weight == 0).any())}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Cut the gradients off."""
        for name, weight in prunable_weights(pl_module).items():
            if name in self.masks and weight.grad is not None:
                weight.grad.mul_(self.masks[name])

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Batch, batch_idx: int
    ) -> None:
        """Set the weights to 0 again, before averages are made of them."""
        for name, weight in prunable_weights(pl_module).items():
            if name in self.masks:
                weight.mul_(self.masks[name])
