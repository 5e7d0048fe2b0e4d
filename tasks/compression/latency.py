"""Latency of two networks, measured side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


@torch.no_grad()
def paired_latency(
    first: nn.Module, second: nn.Module, inputs: tuple[Any, ...], *, seconds: float = 10.0, least: int = 5
) -> tuple[float, float]:
    """Median milliseconds of two networks in evaluation mode on the same input.

    Both take turns, and change who begins, so that what else the machine does meets both alike; torch's
    ``benchmark.Timer`` measures one after the other.

    Args:
        first: on the device of the input.
        second: likewise.
        inputs: of their ``forward``.
        seconds: after which no new turn begins.
        least: turns, whatever the time; at most 100 are made.

    Returns:
        The medians of the first and of the second.
    """
    runs = [_timed(network.eval(), inputs) for network in (first, second)]
    for run in (*runs, *runs):  # memory and kernels are chosen in the first passes
        run()
    taken: list[list[float]] = [[], []]
    end = time.monotonic() + seconds
    while len(taken[0]) < least or (time.monotonic() < end and len(taken[0]) < 100):
        turn = len(taken[0]) % 2
        for number in (turn, 1 - turn):
            taken[number].append(runs[number]())
    return statistics.median(taken[0]), statistics.median(taken[1])


def _timed(network: nn.Module, inputs: tuple[Any, ...]) -> Callable[[], float]:
    cuda = inputs[0].device.type == "cuda"

    def run() -> float:
        start = time.perf_counter()
        network(*inputs)
        if cuda:
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - start)

    return run
