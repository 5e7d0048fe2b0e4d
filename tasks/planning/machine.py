"""What a training runs on, in numbers. No torch: who makes a :class:`Machine` asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Machine:
    """What a training runs on.

    Attributes:
        device: kind of it.
        name: of the GPU, or of the processor; may be empty.
        cores: that this process may use.
        memory: bytes of main memory that this process may use.
        gpu_memory: bytes of one GPU; 0 without.
        devices: that train together.
        half: a 16-bit precision is computed natively.
        weights: names of the networks whose ImageNet weights can be had here without a network.
        hub: whether other weights may be fetched.
    """

    device: Literal["cpu", "cuda", "mps"]
    name: str = ""
    cores: int = 1
    memory: int = 8 * 2**30
    gpu_memory: int = 0
    devices: int = 1
    half: bool = False
    weights: tuple[str, ...] = ()
    hub: bool = False
