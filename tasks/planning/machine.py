"""What a training runs on, in numbers. No torch: who makes a :class:`Machine` asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Machine:
    """What a training runs on.

    Attributes:
        device: kind of it.
        memory: bytes of main memory that are free; assumed where the system does not say.
        devices: that train together.
        weights: names of the networks whose ImageNet weights can be had here without a network.
        hub: whether other weights may be fetched.
    """

    device: Literal["cpu", "cuda", "mps"]
    memory: int = 8 * 2**30
    devices: int = 1
    weights: tuple[str, ...] = ()
    hub: bool = False
