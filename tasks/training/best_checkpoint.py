"""``best.ckpt``: the weights that did best on validation."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

log = logging.getLogger(__name__)

LOSS = "val/loss"


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights with the best validation metric; of equal ones those of the lower loss, then the earlier ones.

    They are written as soon as they have been validated, so the file holds what was evaluated where an epoch has
    several validations too, and an epoch without one changes nothing. An undefined metric (NaN) is worse than any
    number.

    Args:
        folder: of the checkpoints.
        monitor: name of the metric as it is logged.
        mode: whether the metric is better the higher or the lower it is.
    """

    def __init__(self, folder: Path, monitor: str, mode: Literal["min", "max"]) -> None:
        super().__init__(
            folder,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self.best_loss = math.inf

    @property
    def state_key(self) -> str:
        """Key of the parent class: runs cut off under an earlier version know their best score by it."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether the weights that were just validated are the best."""
        if current is None:
            return False
        loss = float(trainer.callback_metrics.get(LOSS, math.nan))
        best = self.best_model_score
        better = best is None or self._rank(float(current), loss) > self._rank(float(best), self.best_loss)
        better = trainer.strategy.reduce_boolean_decision(better)  # one decision for all ranks
        if better:
            self.best_loss = loss
        return better

    def _rank(self, score: float, loss: float) -> tuple[float, float]:
        """The better, the higher."""
        if self.mode == "min":
            score = -score
        return (-math.inf if math.isnan(score) else score), (-math.inf if math.isnan(loss) else -loss)

    def state_dict(self) -> dict[str, Any]:
        """The best score so far, and its loss."""
        return {**super().state_dict(), "best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take both back, also where the folder of the run has moved."""
        score = state_dict["best_model_score"]
        path = Path(str(self.dirpath)) / f"best{self.FILE_EXTENSION}"
        if score is not None and not path.is_file():
            log.warning("%s is gone: the best of the epochs to come will take its place", path)
            return
        kept = "" if score is None else str(path)
        here = {"dirpath": self.dirpath, "best_model_path": kept, "kth_best_model_path": kept}
        super().load_state_dict({**state_dict, **here, "best_k_models": {kept: score} if kept else {}})
        # An earlier version compared no losses, and kept the earlier of two equal epochs.
        self.best_loss = state_dict.get("best_loss", -math.inf)
