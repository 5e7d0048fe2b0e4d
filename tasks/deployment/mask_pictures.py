"""Predicted masks as pictures: the scan, and the calls on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.canvas import titled
from tasks.deployment.case_picture import write_case_picture
from tasks.evaluation.pictures.mask_overlays import called_overlay


def middle_found_slice(planes: NDArray[Any]) -> int:
    """The middle one of the slices on which something is found; the middle of all where there is none.

    Args:
        planes: (S, H, W) class numbers, or (S, L, H, W) of 0 and 1.
    """
    found = np.flatnonzero(planes.reshape(len(planes), -1).any(axis=1))
    return int(found[len(found) // 2]) if len(found) else len(planes) // 2


def write_mask_picture(
    folder: Path,
    case_id: str,
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    class_names: Sequence[str],
    overlapping: bool = False,
    spacing: tuple[float, float] | None = None,
    note: str = "",
) -> Path:
    """Draw the calls of a case beside its scan, as ``<case id>.png``.

    Args:
        folder: where to; made if need be.
        case_id: names the file; ``/`` in it separates folders.
        image: (H, W, C) in [0, 1], as stored.
        mask: (H, W) class numbers, or (L, H, W) of 0 and 1.
        class_names: in class order, background first; with ``overlapping`` the L regions.
        overlapping: the mask has a layer for each region.
        spacing: mm per row and column; None = unknown.
        note: stands behind the case id, such as ``slice 17 of 35``.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    picture = called_overlay(image, mask, class_names, overlapping, spacing)
    return write_case_picture(folder, case_id, titled(picture, case_id + (f" ({note})" if note else "")))
