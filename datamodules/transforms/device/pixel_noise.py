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
_FACTORS = (0x85EBCA6B, 0xC2B2AE35)
_ALL = 0xFFFFFFFF


def word(number: int, stream: int) -> tuple[float, float]:
    """A case's number for one use, as two numbers of 16 bits, which float32 holds exactly.

    Args:
        number: 32 bits that are the case's own.
        stream: tells several uses of one number apart.
    """
    bits = _mixed(_mixed(number) ^ (stream * 0x9E3779B9 & _ALL))
    return float(bits >> 16), float(bits & 0xFFFF)


def uniform(high: Tensor, low: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Uniform numbers in (-1, 1).

    Args:
        high: (B,) first half of each case's :func:`word`.
        low: (B,) the second.
        shape: (C, H, W).

    Returns:
        (B, C, H, W) float32, the same on every device.
    """
    words = (high.to(torch.int32) << 16) | low.to(torch.int32)
    counter = torch.arange(shape[0] * shape[1] * shape[2], dtype=torch.int32, device=high.device)
    # The counter is mixed once for all cases; what follows the case's word is the second half of the mixing.
    counter = _half_mixed(_half_mixed(counter, 16, _FACTORS[0]), 13, _FACTORS[1])
    bits = (counter ^ _shifted(counter, 16)).view(1, *shape) ^ words.view(-1, 1, 1, 1)
    bits *= _signed(_FACTORS[0])
    bits ^= _shifted(bits, 13)
    bits *= _signed(_FACTORS[1])
    return bits * _TO_UNIT


def normal(high: Tensor, low: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Standard normal numbers (B, C, H, W), by the inverse of the distribution; see :func:`uniform`."""
    return torch.erfinv(uniform(high, low, shape)).mul_(_ROOT_2)


def _mixed(bits: int) -> int:
    """MurmurHash3's finalizer."""
    bits = (bits ^ bits >> 16) * _FACTORS[0] & _ALL
    bits = (bits ^ bits >> 13) * _FACTORS[1] & _ALL
    return bits ^ bits >> 16


def _half_mixed(bits: Tensor, shift: int, factor: int) -> Tensor:
    return (bits ^ _shifted(bits, shift)) * _signed(factor)


def _shifted(bits: Tensor, shift: int) -> Tensor:
    """To the right; what is shifted in is 0, as with unsigned numbers."""
    return (bits >> shift) & ((1 << 32 - shift) - 1)


def _signed(bits: int) -> int:
    """The 32-bit number of two's complement with these bits."""
    return bits - (1 << 32) if bits >> 31 else bits
