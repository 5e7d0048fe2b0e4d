"""Kernels over scans, as files and as a part of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.types import Scan
from scansuite.files import replacing, safe_path
from tasks.explain.drawing import kernel_picture
from tasks.explain.kernels import Kernel, Padding, apply_kernel
from tasks.explain.layer_pictures import write_picture
from tasks.explain.page import ExplainPage

_SAID = (
    "Stored values under a kernel that is not turned round (cross-correlation, which is what a convolution layer "
    "computes), without bias and activation function."
)
_MOST_SHOWN = 12  # rows and columns of an answer that stand in the page as numbers


def report_kernels(
    case_id: str,
    scan: Scan,
    shown: NDArray[np.float32],
    kernels: Sequence[Kernel],
    padding: Padding,
    folder: Path,
    page: ExplainPage,
) -> None:
    """Write what kernels make of a scan as ``kernels/<case>/<name>.npy`` and ``.png``, and add it to the page.

    Args:
        case_id: of the case.
        scan: as its reader gives it.
        shown: (H, W, C) in [0, 1] of it.
        kernels: to apply.
        padding: see :func:`~tasks.explain.kernels.apply_kernel`.
        folder: where to.
        page: that they are added to.

    Raises:
        SuiteError: a kernel is larger than the scan, or a file cannot be written.
    """
    page.begin_part("kernels", "Kernels by hand", [_SAID])
    for number, kernel in enumerate(kernels, start=1):
        answer = apply_kernel(scan.array, kernel.weights, padding)
        name = kernel.name if [one.name for one in kernels].count(kernel.name) == 1 else f"{kernel.name}_{number}"
        file = folder / "kernels" / safe_path(f"{case_id}/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file.with_name(f"{file.name}.npy"), durable=False) as temporary, temporary.open("wb") as opened:
            np.save(opened, answer.astype(np.float32), allow_pickle=False)
        pixels = kernel_picture(shown, answer)
        picture = file.with_name(f"{file.name}.png")
        write_picture(picture, pixels)
        said = f"{_numbers(kernel.weights)}, {padding}: {answer.shape[0]} x {answer.shape[1]} numbers"
        if max(answer.shape) <= _MOST_SHOWN:
            said += f": {_numbers(answer)}"
        page.add_grid("kernels", pixels, f"{name}, {case_id}", said, str(picture.relative_to(folder)))


def _numbers(values: NDArray[np.float64]) -> str:
    if max(values.shape) > _MOST_SHOWN:
        return f"kernel of {values.shape[0]} x {values.shape[1]}"
    return "[" + ", ".join("[" + ", ".join(f"{one:.4g}" for one in row) + "]" for row in values) + "]"
