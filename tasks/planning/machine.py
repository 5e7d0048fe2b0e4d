"""What a training runs on, in numbers. No torch: who makes a :class:`Machine` asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Machine:
    """What a training runs on.

    Attributes:
        device: kind of it.
        memory: bytes of main memory of a node that are free; assumed where the system does not say.
        devices: that train together.
        nodes: that they are of, each with that memory.
        weights: names of the networks whose ImageNet weights are on this machine.
        hub: names of those whose weights are not, and can be fetched; empty too where nobody had to be asked.
    """

    device: Literal["cpu", "cuda", "mps"]
    memory: int = 8 * 2**30
    devices: int = 1
    nodes: int = 1
    weights: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
