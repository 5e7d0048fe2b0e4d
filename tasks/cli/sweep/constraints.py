"""What a model of a sweep may cost: latency, size, seconds; measured once it is trained."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from scansuite.errors import SuiteError
from tasks.loading import build_from, open_checkpoint

NAMES = ("latency_ms", "parameters", "size_mib", "seconds")
_FORM = re.compile(r"\s*(\w+)\s*<=\s*([0-9.eE+-]+)\s*")
_WARM, _TIMED = 3, 15  # runs of a network before and while it is timed


class Constraint(NamedTuple):
    """A cost and its limit.

    Attributes:
        name: one of :data:`NAMES`.
        most: the limit, included.
    """

    name: str
    most: float


def read_constraints(asked: Sequence[str]) -> list[Constraint]:
    """Constraints as typed: ``latency_ms<=20``.

    Raises:
        SuiteError: one is none, or names what is not measured.
    """
    found = []
    for text in asked:
        match = _FORM.fullmatch(text)
        try:
            most = float(match[2]) if match is not None else float("nan")
        except ValueError:
            most = float("nan")
        if match is None or match[1] not in NAMES or not most > 0:
            raise SuiteError(f"--constraints {text}: such as latency_ms<=20; what is measured: {', '.join(NAMES)}")
        found.append(Constraint(match[1], most))
    return found


def costs(checkpoint: Path, task: str, seconds: float) -> dict[str, float]:
    """What a trained model costs on this machine.

    Args:
        checkpoint: of it.
        task: name of the task.
        seconds: of its training.

    Returns:
        By name: ``latency_ms`` (median of one image of the size it was trained on, float32, on the CPU, all cores),
        ``parameters``, ``size_mib`` (of its weights as float32), ``seconds``.
    """
    model = build_from(open_checkpoint(checkpoint, task), task, checkpoint).eval()
    count = sum(weight.numel() for weight in model.parameters())
    height, width = model.input_size or (224, 224)
    image = torch.zeros(1, model.in_channels, height, width)
    times = []
    with torch.inference_mode():
        for number in range(_WARM + _TIMED):
            began = time.perf_counter()
            model(image)
            if number >= _WARM:
                times.append(time.perf_counter() - began)
    return {
        "latency_ms": 1000 * statistics.median(times),
        "parameters": float(count),
        "size_mib": 4 * count / 2**20,
        "seconds": seconds,
    }
