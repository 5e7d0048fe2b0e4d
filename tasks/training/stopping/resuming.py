"""State that Lightning does not restore by itself when a run is resumed."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason


class Resuming(Callback):
    """Lets a run go on where it was.

    - Lightning takes every checkpoint of a training that is counted in steps (``--trainer.max_steps``) for one from the
      middle of an epoch, and lets the epoch that is over end once more: it would be counted twice, and its row in
      ``metrics.csv`` replaced by an empty one. Ours are from the ends of epochs.
    - It does not remember that early stopping has ended the training, and would train one more epoch where the run was
      cut off later, while the best checkpoint was evaluated.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before the state of the loops is read."""
        loop: Any = trainer.fit_loop
        loop._iteration_based_training = lambda: False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first epoch, with the state of all callbacks."""
        for callback in trainer.early_stopping_callbacks:
            if callback.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
                trainer.should_stop = True
