"""Unfreezing of a backbone in given epochs."""

from __future__ import annotations

import logging
from bisect import bisect_right
from typing import TYPE_CHECKING, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy

if TYPE_CHECKING:  # brings timm
    from backbones.pyramid import Backbone

log = logging.getLogger(__name__)


class Unfreezing(Callback):
    """Unfreezes ``model.backbone``, whole or from the head end by stage (Howard and Ruder, ULMFiT, ACL 2018).

    What trains follows from the epoch alone, so a resumed run finds its stage again. The optimiser must know the
    parameters from the start: it passes over those without gradient. (Lightning's ``BackboneFinetuning`` adds groups of
    parameters to the optimiser instead, which schedules do not know, and unfreezes all at once.)

    Args:
        epochs: after how many epochs the whole backbone begins to learn, or rising numbers of them, after each of which
            one more of its stages does, the deepest first.
    """

    def __init__(self, epochs: int | list[int]) -> None:
        self.epochs = epochs
        self._open = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the stage of a resumed run, in whose first epoch Lightning leaves out ``on_train_epoch_start``."""
        self._open = 0
        self._apply(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Unfreeze what is due in this epoch."""
        self._apply(trainer, pl_module)

    def _apply(self, trainer: Trainer, pl_module: LightningModule) -> None:
        backbone = cast("Backbone", pl_module.backbone)
        stages = list(backbone.stages)
        if isinstance(self.epochs, int):
            due = len(stages) if trainer.current_epoch >= self.epochs else 0
        else:
            due = bisect_right(self.epochs, trainer.current_epoch)
        if due <= self._open:
            return
        names = stages[len(stages) - due : len(stages) - self._open]
        log.info("epoch %d: %s of the backbone begins to train", trainer.current_epoch + 1, ", ".join(names))
        self._open = due
        backbone.unfreeze(None if due == len(stages) else due)
        strategy = trainer.strategy
        if isinstance(strategy, DDPStrategy):
            # DDP averages the gradients of those parameters that required one when it was set up.
            strategy.model = strategy.lightning_module
            strategy.configure_ddp()
