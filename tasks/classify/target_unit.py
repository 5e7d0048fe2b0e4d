"""From what the head of a regression says to the number that is asked for, in the unit of the targets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scansuite.errors import SuiteError


class TargetUnit:
    """``mean + spread * output``, so that weights and learning rate of a head need not know the unit of the targets.

    Without statistics outputs stay as they are, to the bit: in classification, and in models that were trained before
    statistics were kept. They are plain numbers, from the model's arguments: half precision would round buffers.

    Args:
        target: kind of target; all but regression have no unit, and no statistics.
        statistics: mean and standard deviation of the training targets; None: they are not known.
        spoken: the head gives numbers in the unit of the targets by itself, and the loss alone is to know their spread.

    Attributes:
        mean: of the targets, in their unit; 0 where it is not known.
        spread: their standard deviation; 1 where it is not known.
        factor: of what the head says, 1 where it speaks the unit.
    """

    def __init__(self, target: str, statistics: Sequence[float] | None = None, *, spoken: bool = False) -> None:
        self.target, self.spoken = target, spoken
        self.take(statistics)

    def take(self, statistics: Sequence[float] | None) -> None:
        """Take another mean and spread, or none.

        Raises:
            SuiteError: they are not two finite numbers, the second above 0.
        """
        known = None if self.target != "regression" else statistics
        mean, spread = (0.0, 1.0) if known is None else _checked(known)
        self.mean, self.spread = mean, spread
        self.factor = 1.0 if self.spoken else spread

    def __call__(self, output: Tensor) -> Tensor:
        """(B, outputs) of a head -> (B, outputs) in the unit of the targets, at least in float32."""
        if self.spoken or (self.mean == 0 and self.spread == 1):
            return output
        # What half precision holds of the head is enough; of a number such as 127.4 months or 80000 mm³ it is not.
        exact = output if output.dtype == torch.float64 else output.float()
        return exact * self.spread + self.mean


def _checked(statistics: Sequence[float]) -> tuple[float, float]:
    if len(statistics) != 2 or not all(map(math.isfinite, statistics)) or statistics[1] <= 0:
        raise SuiteError(
            f"target_statistics {list(statistics)}: expected mean and standard deviation of the training targets, the "
            "latter above 0"
        )
    return float(statistics[0]), float(statistics[1])
