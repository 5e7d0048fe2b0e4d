"""Early stopping by a smoothed curve of validation."""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any, Literal

import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor

LEFT = 0.1  # of what a metric lacks to 1


class SmoothedStopping(EarlyStopping):
    """Lightning's early stopping, by the median of the last validations.

    Of a small validation part a metric jumps from epoch to epoch: a single lucky value, which never comes again, would
    end a training that still learns. A median of three passes over one such value and follows a curve that rises.

    Args:
        metric: logged name.
        mode: whether it rises or falls as the model becomes better.
        patience: validations without a better median after which training stops.
        over: validations whose median counts, as far as there are so many; 1: each value by itself. Undefined values
            are left out of it.
        gain: by how much it has to be better than the best before, in the metric's unit, to count: a curve that creeps
            up by a thousandth from time to time would never end. Of a metric that rises to 1 it is a tenth of what is
            left, where that is less: 0.998 is far better than 0.996.
    """

    def __init__(
        self, metric: str, mode: Literal["min", "max"], patience: int, over: int = 1, gain: float = 0.0
    ) -> None:
        super().__init__(
            metric,
            min_delta=gain,
            mode=mode,
            patience=patience,
            check_on_train_epoch_end=True,
            strict=False,  # there are epochs without validation
            check_finite=False,  # a metric may be undefined in an epoch
        )
        self.recent: deque[float] = deque(maxlen=over)
        self.gain = gain

    @property
    def state_key(self) -> str:
        """That of Lightning's, so that runs of earlier versions go on."""
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__, 1)

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        if math.isnan(current):
            return False, None  # of a validation part without a class: it says nothing for or against
        self.recent.append(float(current))
        smoothed = statistics.median(self.recent)
        if self.mode == "max":
            left = 1 - float(self.best_score)
            self.min_delta = min(self.gain, LEFT * left) if left > 0 else self.gain
        return super()._evaluate_stopping_criteria(torch.full_like(current, smoothed))

    def state_dict(self) -> dict[str, Any]:
        """With the values that the next median is of."""
        return {**super().state_dict(), "recent": list(self.recent)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up; checkpoints of earlier versions have none."""
        super().load_state_dict(state_dict)
        self.recent.extend(value for value in state_dict.get("recent", ()) if not math.isnan(value))
