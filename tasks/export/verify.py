"""An export beside PyTorch on real scans: what differs, how fast both are, and whether it is let pass."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from scansuite.errors import SuiteError
from tasks.export.exporter import Exporter
from tasks.export.feeding import RunnableExport, run_model
from tasks.export.scans import Scans
from tasks.export.tally import Tally
from tasks.exported.description import Check, Precision


@dataclass(frozen=True)
class Latency:
    """Time of a batch of the model's own images on this machine.

    Attributes:
        batch: images in it.
        torch_ms: median milliseconds of PyTorch.
        export_ms: of the export.
    """

    batch: int
    torch_ms: float
    export_ms: float


def verified(exporter: Exporter[Any], model: RunnableExport, scans: Scans, precision: Precision) -> tuple[Check, ...]:
    """Run an export and PyTorch on the same scans.

    Args:
        exporter: of the model.
        model: the export.
        scans: to run both on.
        precision: of the export, which says how much may differ.

    Returns:
        What was compared, all within what it may differ by.

    Raises:
        SuiteError: something differs by more; says what, and by how much.
    """
    checks = compared(exporter, model, scans, precision)
    wrong = [check for check in checks if not check.value <= check.tolerance]
    if wrong:
        said = "; ".join(f"{check.name} by {check.value:.3g} (at most {check.tolerance:g})" for check in wrong)
        raise SuiteError(f"the export differs from PyTorch on {scans}: {said}: no file is left")
    return checks


@torch.no_grad()
def compared(exporter: Exporter[Any], model: RunnableExport, scans: Scans, precision: Precision) -> tuple[Check, ...]:
    """What :func:`verified` gives, whatever differs.

    Raises:
        SuiteError: the graph does not take the scans.
    """
    tally, free = Tally(), not model.description.sizes
    for image in scans.batches(resized=free):
        if not free and tuple(image.shape[-2:]) not in filled(model):
            raise SuiteError(
                f"{model.where}: takes images of {_sizes(model)} px alone, and {scans.source} gives one of "
                f"{image.shape[-2]} x {image.shape[-1]}: take a network that is not laid out for one size"
            )
        if not exporter.takes(image.shape[-2:]):
            continue  # nor does PyTorch: sizes that its maps do not come together at again
        exporter.compare(tally, image, model)
        tally.scans += len(image)
    return tally.checks(precision)


def filled(model: RunnableExport) -> set[tuple[int, int]]:
    """(H, W) of all images that, filled up, have a size that the graph takes."""
    multiple = model.description.multiple
    return {
        (height - rows, width - columns)
        for height, width in model.description.sizes
        for rows in range(multiple)
        for columns in range(multiple)
    }


def latencies(
    exporter: Exporter[Any], model: RunnableExport, scans: Scans, batches: Sequence[int] = (1, 8), seconds: float = 3.0
) -> list[Latency]:
    """Median time of PyTorch and of the export, which take turns, so that what else the machine does meets both."""
    first = scans.images[0]
    like = [image for image in scans.images if image.shape == first.shape]
    found = []
    for batch in batches:
        image = torch.stack([like[number % len(like)] for number in range(batch)])
        given = image.numpy()
        pair = (lambda image=image: exporter.references(image)), (lambda given=given: run_model(model, given))
        found.append(Latency(batch, *_medians(pair, seconds)))
    return found


def _medians(runs: Sequence[Callable[[], object]], seconds: float) -> tuple[float, float]:
    for run in runs:
        run()
    taken: list[list[float]] = [[] for _ in runs]
    end = time.monotonic() + seconds
    while len(taken[0]) < 5 or (time.monotonic() < end and len(taken[0]) < 100):
        turn = len(taken[0]) % 2
        for number in (turn, 1 - turn):
            start = time.perf_counter()
            runs[number]()
            taken[number].append(1000 * (time.perf_counter() - start))
    return statistics.median(taken[0]), statistics.median(taken[1])


def _sizes(model: RunnableExport) -> str:
    return ", ".join(f"{height} x {width}" for height, width in model.description.sizes)
