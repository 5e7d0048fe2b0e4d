"""A kernel given by hand, or one of the common ones, over an image: what a convolution layer computes with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from datamodules.preprocess import LUMINANCE
from scansuite.errors import SuiteError, nearest

Padding: TypeAlias = Literal["valid", "same"]

MOST_SIDE = 63  # of a kernel, in pixels
_MOST_BYTES = 1 << 20  # of a kernel's file
_FLAG = "--kernel"

# Edges are above 0 where it is brighter on the left, or above. Sums: edges and Laplacian 0, the others 1.
KERNELS: dict[str, list[list[float]]] = {
    "vertical": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
    "horizontal": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    "sobel": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "gaussian": [[1 / 16, 2 / 16, 1 / 16], [2 / 16, 4 / 16, 2 / 16], [1 / 16, 2 / 16, 1 / 16]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
}


class Kernel(NamedTuple):
    """A kernel.

    Attributes:
        name: of it: ``vertical``, a file's name, or ``kernel`` where its numbers were typed.
        weights: (h, w) float64.
    """

    name: str
    weights: NDArray[np.float64]


def read_kernel(text: str) -> Kernel:
    """Read a kernel as it is typed.

    Args:
        text: one of :data:`KERNELS`; numbers row by row, ``[[1,0,-1],[1,0,-1],[1,0,-1]]``; or a file: such numbers in
            JSON, rows of numbers with commas or spaces between them, or an array of NumPy (``.npy``).

    Raises:
        SuiteError: it is none of these, its rows differ in length, it is larger than 63 x 63, or a number is not
            finite.
    """
    if text in KERNELS:
        return Kernel(text, np.array(KERNELS[text], dtype=np.float64))
    if text.lstrip().startswith("["):
        return Kernel("kernel", _checked(_json(text, text), text))
    file = Path(text)
    if not file.is_file():
        raise SuiteError(
            f"{_FLAG} {text}: is no file and no known kernel: {nearest(text, KERNELS)} or give numbers: "
            "[[1,0,-1],[1,0,-1],[1,0,-1]]"
        )
    if file.stat().st_size > _MOST_BYTES:
        raise SuiteError(f"{_FLAG} {text}: the file has more than {_MOST_BYTES} bytes, and a kernel is small")
    return Kernel(file.stem, _checked(_in_file(file), text))


def apply_kernel(image: NDArray[Any], kernel: NDArray[Any], padding: Padding = "valid") -> NDArray[np.float64]:
    """Apply a kernel as a convolution layer does: cross-correlation, the kernel is not turned round.

    Args:
        image: (H, W), or (H, W, C) of which three or four channels become grey (ITU-R BT.601) and the first of others
            is taken.
        kernel: (h, w).
        padding: ``valid``: where the kernel lies within the image; ``same``: as large as the image, zeros around it.

    Returns:
        (H - h + 1, W - w + 1), or (H, W) with ``same``.

    Raises:
        SuiteError: the kernel is larger than the image.
    """
    grey = grey_values(image)
    if padding == "valid" and (grey.shape[0] < kernel.shape[0] or grey.shape[1] < kernel.shape[1]):
        raise SuiteError(
            f"{_FLAG}: is {_size(kernel)} and the image {_size(grey)}: give a smaller kernel, or --padding same"
        )
    source = torch.from_numpy(grey)[None, None]
    weights = torch.from_numpy(np.ascontiguousarray(kernel, dtype=np.float64))[None, None]
    if padding == "same":  # as torch does it, which warns of kernels with even sides
        before, after = zip(*(((side - 1) // 2, side // 2) for side in kernel.shape), strict=True)
        source = F.pad(source, (before[1], after[1], before[0], after[0]))
    answer: NDArray[np.float64] = F.conv2d(source, weights)[0, 0].numpy()
    return answer


def grey_values(image: NDArray[Any]) -> NDArray[np.float64]:
    """(H, W) stored values of an image (H, W) or (H, W, C) in one channel."""
    values = np.asarray(image, dtype=np.float64)
    if values.ndim == 3:
        values = (
            values[:, :, :3] @ np.array(LUMINANCE, dtype=np.float64) if values.shape[2] in (3, 4) else values[..., 0]
        )
    return np.ascontiguousarray(values)


def _in_file(file: Path) -> object:
    if file.suffix == ".npy":
        try:
            return np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError):
            raise SuiteError(f"{_FLAG} {file}: is no array of NumPy with numbers") from None
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise SuiteError(f"{_FLAG} {file}: cannot be read as text") from None
    if text.lstrip().startswith("["):
        return _json(text, str(file))
    try:
        return [[float(cell) for cell in line.replace(",", " ").split()] for line in text.splitlines() if line.strip()]
    except ValueError:
        raise SuiteError(f"{_FLAG} {file}: a cell is no number: give rows of numbers, such as 1,0,-1") from None


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise SuiteError(f"{_FLAG} {where[:80]}: give rows of numbers: [[1,0,-1],[1,0,-1],[1,0,-1]]") from None


def _checked(rows: object, where: str) -> NDArray[np.float64]:
    where = f"{_FLAG} {where[:80]}"
    try:
        kernel = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError):  # rows of different lengths, texts
        kernel = np.empty(0)
    if kernel.ndim != 2 or kernel.size == 0:
        raise SuiteError(f"{where}: give rows of numbers, all of one length: [[1,0,-1],[1,0,-1],[1,0,-1]]")
    if max(kernel.shape) > MOST_SIDE:
        raise SuiteError(f"{where}: has {_size(kernel)} numbers: a kernel has at most {MOST_SIDE} x {MOST_SIDE}")
    if not np.isfinite(kernel).all():
        raise SuiteError(f"{where}: a number is not finite")
    return kernel


def _size(values: NDArray[Any] | Sequence[Any]) -> str:
    height, width = np.shape(values)[:2]
    return f"{height} x {width}"
