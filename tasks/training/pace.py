"""The pace of a training that must end on time: how many steps are left, and how fast the schedule moves along them.

Plain numbers; :mod:`tasks.training.on_time` measures them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Share of the steps so far that a schedule gets for its end, where a machine has become slower all at once.
CLOSING = 0.01
# Share of a training by which it may end earlier or later for the sake of a whole epoch.
_WHOLE = 0.01


@dataclass
class Pace:
    """Steps that are left, and the schedule that ends with them.

    A schedule is laid out for :attr:`total` steps. A training that will have more or fewer moves along it by a fraction
    of a step, or by several, at each of its own: whatever the machine does, the last step is the schedule's last.

    Attributes:
        total: steps that the schedule was laid out for.
        stretches: the training may have more steps than that.
        last: steps of the optimiser after which the training ends.
        taken: steps of the schedule so far.
        carry: of the next one, 0 to 1.
        closing: nothing moves the end any more.
    """

    total: int
    stretches: bool = False
    last: int = 0
    taken: int = 0
    carry: float = 0.0
    closing: bool = False

    def __post_init__(self) -> None:
        self.last = self.last or self.total

    def advance(self, step: int) -> int:
        """Steps that the schedule takes with a step of the optimiser.

        Args:
            step: number of it, from 1 on.
        """
        left = max(1, self.last - step + 1)
        self.carry += (self.total - self.taken - self.carry) / left
        moved = min(math.floor(self.carry + 1e-6), self.total - self.taken)
        self.carry = max(0.0, self.carry - moved)
        self.taken += moved
        return moved

    def aim(self, done: int, seconds: float, a_step: float, a_pause: float, an_epoch: int, begun: int = 0) -> None:
        """Choose the last step anew.

        Args:
            done: steps so far.
            seconds: that are left for training and validation.
            a_step: seconds of a step.
            a_pause: seconds between two epochs, validation included.
            an_epoch: steps of an epoch.
            begun: steps of this epoch so far.
        """
        if self.closing:
            return
        affordable = math.floor((seconds - a_pause) / max(1e-9, a_step + a_pause / an_epoch))
        least = 1 + math.floor(CLOSING * done)
        if affordable <= least:
            self.last, self.closing = done + least, True
        else:
            into = begun + affordable
            whole = round(into / an_epoch) * an_epoch - into
            self.last = done + affordable + (whole if abs(whole) <= _WHOLE * (done + affordable) else 0)
        if not self.stretches and self.last >= self.total:
            self.last = max(self.total, done)

    def state_dict(self) -> dict[str, Any]:
        """In plain types, for a checkpoint."""
        return dict(vars(self))


@dataclass
class Usual:
    """What something usually takes: the mean of the last seconds of it, so that a machine may change.

    Attributes:
        most: of how many.
    """

    most: int = 64

    def __post_init__(self) -> None:
        self.known: list[float] = []

    def add(self, seconds: float) -> None:
        """Note how long it took."""
        self.known = [*self.known[1 - self.most :], seconds] if self.most > 1 else [seconds]

    @property
    def seconds(self) -> float | None:
        """Of one; None: not known yet."""
        return sum(self.known) / len(self.known) if self.known else None
