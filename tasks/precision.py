"""Double precision, for what is told apart by its last digits."""

from __future__ import annotations

from torch import Tensor


def in_double(tensor: Tensor) -> Tensor:
    """The tensor in float64, where its device has that; else in float32.

    In float32 a probability is 1 from a logit of 17 on, and every surer case or box ties with the others.
    """
    return tensor.float() if tensor.device.type == "mps" else tensor.double()
