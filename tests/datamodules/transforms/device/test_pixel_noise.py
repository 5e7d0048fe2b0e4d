from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kstest

from datamodules.transforms.device.pixel_noise import normal, uniform, word


def words(*numbers: int, stream: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Both halves of the cases' words, as parameters carry them."""
    high, low = zip(*(word(number, stream) for number in numbers), strict=True)
    return torch.tensor(high), torch.tensor(low)


def mixed(bits: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3's finalizer on unsigned numbers, as it is published."""
    bits = bits ^ (bits >> np.uint32(16))
    bits = bits * np.uint32(0x85EBCA6B)
    bits = bits ^ (bits >> np.uint32(13))
    bits = bits * np.uint32(0xC2B2AE35)
    return np.asarray(bits ^ (bits >> np.uint32(16)), dtype=np.uint32)


def test_bits_are_those_of_unsigned_arithmetic() -> None:
    numbers = [0, 1, 0xDEADBEEF, 0xFFFFFFFF]
    found = uniform(*words(*numbers, stream=2), (2, 5, 7)).numpy()
    with np.errstate(over="ignore"):
        for number, values in zip(numbers, found, strict=True):
            stream = np.uint32(2 * 0x9E3779B9 & 0xFFFFFFFF)
            bits = mixed(np.arange(70, dtype=np.uint32)) ^ mixed(mixed(np.array([number], np.uint32)) ^ stream)
            bits = bits * np.uint32(0x85EBCA6B)
            bits = (bits ^ (bits >> np.uint32(13))) * np.uint32(0xC2B2AE35)
            wanted = bits.view(np.int32).astype(np.float64) / 2**31
            np.testing.assert_allclose(values.ravel(), wanted, atol=2e-7)


def test_numbers_are_uniform_and_normal_and_never_infinite() -> None:
    high, low = words(*range(8))
    flat = uniform(high, low, (3, 64, 64)).flatten(1).numpy()
    bell = normal(high, low, (3, 64, 64)).flatten(1).numpy()
    for values, name in ((flat / 2 + 0.5, "uniform"), (bell, "norm")):
        assert kstest(values.ravel(), name).pvalue > 1e-3
        assert min(kstest(row, name).pvalue for row in values) > 1e-4
    assert np.isfinite(bell).all()
    assert (np.abs(flat) < 1).all()
    # The extremes of the integers, which rounding takes to 2**31.
    largest = torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32) * (2.0**-31 * (1 - 2.0**-23))
    assert torch.erfinv(largest).isfinite().all()


def test_cases_channels_pixels_and_uses_are_independent() -> None:
    high, low = words(7, 8, 7 << 16, 7 ^ (1 << 31))
    patterns = [*uniform(high, low, (3, 96, 96)).flatten(0, 1), uniform(*words(7, stream=2), (1, 96, 96))[0, 0]]
    flat = torch.stack(patterns).flatten(1)
    related = torch.corrcoef(flat).fill_diagonal_(0).abs().max()
    assert related < 5 / 96  # five standard deviations of unrelated ones
    image = flat[0].view(96, 96)
    for rows, columns in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (16, 0), (32, 32)):
        moved = torch.roll(image, (rows, columns), (0, 1))
        assert abs(float(torch.corrcoef(torch.stack([image.flatten(), moved.flatten()]))[0, 1])) < 5 / 96


def test_a_case_draws_the_same_beside_others() -> None:
    high, low = words(3, 4, 5)
    together = normal(high, low, (2, 9, 11))
    assert torch.equal(normal(high[1:2], low[1:2], (2, 9, 11))[0], together[1])
