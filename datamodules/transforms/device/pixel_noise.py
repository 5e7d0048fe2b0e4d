"""Random numbers of pixels from a counter: a function of the case's own number, the channel and the pixel alone.

So a case's noise does not depend on which cases share its batch, nor on the device, as a generator's stream would. The
function is the finalizer of MurmurHash3 (A. Appleby, 2011, public domain), in the spirit of J. Salmon et al., Parallel
random numbers: as easy as 1, 2, 3, SC 2011; Philox itself takes 64-bit products, which tensors do not have. Integers
are int32 that wrap around: torch has no arithmetic on uint32 on GPUs.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The largest result is 1 - 2**-23: exactly 1 would be an infinite normal number.
_TO_UNIT = 2.0**-31 * (1 - 2.0**-23)
_ROOT_2 = 2.0**0.5


def uniform(high: Tensor, low: Tensor, stream: int, shape: tuple[int, int, int]) -> Tensor:
    """Uniform numbers in (-1, 1).

    Args:
        high: (B,) upper 16 bits of each case's number, in float32.
        low: (B,) lower 16 bits.
        stream: tells several uses of one number apart.
        shape: (C, H, W).

    Returns:
        (B, C, H, W) float32, the same on every device.
    """
    word = _mixed(_mixed((high.to(torch.int32) << 16) | low.to(torch.int32)) ^ _signed(stream * 0x9E3779B9))
    counter = _mixed(torch.arange(shape[0] * shape[1] * shape[2], dtype=torch.int32, device=high.device))
    # The counter is mixed once for all cases; what follows the case's number is the second half of the mixing.
    bits = counter.view(1, *shape) ^ word.view(-1, 1, 1, 1)
    bits *= _signed(0x85EBCA6B)
    bits ^= (bits >> 13) & 0x7FFFF
    bits *= _signed(0xC2B2AE35)
    return bits * _TO_UNIT


def normal(high: Tensor, low: Tensor, stream: int, shape: tuple[int, int, int]) -> Tensor:
    """Standard normal numbers (B, C, H, W), by the inverse of the distribution; see :func:`uniform`."""
    return torch.erfinv(uniform(high, low, stream, shape)).mul_(_ROOT_2)


def _mixed(bits: Tensor) -> Tensor:
    """MurmurHash3's finalizer; what is shifted in is 0, as with unsigned numbers."""
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * _signed(0x85EBCA6B)
    bits = (bits ^ ((bits >> 13) & 0x7FFFF)) * _signed(0xC2B2AE35)
    return bits ^ ((bits >> 16) & 0xFFFF)


def _signed(word: int) -> int:
    """The 32-bit number of two's complement with these bits."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word
