"""Pictures of good and bad cases: scan, truth, prediction and where these differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.pictures.canvas import Colour, grid, legend
from datamodules.pictures.masks import mask_layers, outline_width, paint_masks
from datamodules.pictures.panels import UNKNOWN, class_colour, panel_size, scan_panel
from datamodules.resampling import resize_mask
from scansuite.errors import SuiteError
from tasks.evaluation.pictures.common import (
    FALSE_CALL,
    MISSED,
    WRONG_CLASS,
    Overlay,
    Rank,
    rank_cases,
    write_pictures,
)
from tasks.evaluation.segmentation.overlap import BoolArray, check_shapes

_UNANNOTATED = 255  # in masks, and never a class
_NAMED = 12  # classes in the legend


def pick_cases(predictions: pd.DataFrame, metric: str = "dice") -> dict[Rank, str]:
    """The best, the median and the worst case of a split.

    Args:
        predictions: one row a case and class: ``case_id`` and the metric, NA = undefined.
        metric: the higher the better. A case counts with the mean over its defined classes; without any it is left out.

    Returns:
        Case ids. The median of an even number is the lower of the two in the middle, equal cases are in the order of
        the table, and no case is duplicated: of two there is no median, of one only the best, of none nothing.

    Raises:
        SuiteError: the table has no such column.
    """
    for column in ("case_id", metric):
        if column not in predictions:
            raise SuiteError(
                f"predictions table: no column {column!r} (found: {', '.join(map(str, predictions.columns))})"
            )
    return rank_cases(predictions.groupby("case_id", sort=False)[metric].mean())


def most_telling_slice(truth: NDArray[Any], prediction: NDArray[Any]) -> int:
    """The slice that shows most of the truth, or of the prediction where the truth is empty; else the middle one.

    Args:
        truth: (S, H, W) class numbers, or (L, S, H, W) of 0 and 1; 255 is unknown, and no foreground.
        prediction: the same of the model.
    """
    for mask in (truth, prediction):
        foreground = ((mask != 0) & (mask != _UNANNOTATED)).sum(axis=(*range(mask.ndim - 3), -2, -1))
        if foreground.any():
            return int(foreground.argmax())
    return len(truth[0] if truth.ndim > 3 else truth) // 2


def overlay(
    image: NDArray[np.float32],
    truth: NDArray[Any],
    prediction: NDArray[Any],
    class_names: Sequence[str],
    overlapping: bool = False,
    spacing: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """One picture of a case in four panels: the scan, the truth, the prediction, and their errors on a dimmed scan.

    Args:
        image: (H, W, C) in [0, 1]; of channel counts other than 1 and 3 the middle channel is shown. Dim scans are
            brightened until their brightest thousandth is white.
        truth: (H, W) class numbers, or (L, H, W) of 0 and 1; other numbers mean unknown.
        prediction: the same of the model.
        class_names: in class order, background first; with ``overlapping`` the L regions.
        overlapping: masks have a layer for each region.
        spacing: mm per row and column; pixels of another shape than square are shown in it.

    Returns:
        (H', W', 3) RGB. The shorter side of a panel has at least 384 px, unless the longer one would exceed 768.

    Raises:
        ValueError: the shapes, or the numbers of layers and names, differ.
    """
    check_shapes(truth, prediction)
    if truth.shape[-2:] != image.shape[:2] or (overlapping and len(truth) != len(class_names)):
        raise ValueError(f"masks of shape {truth.shape} for an image {image.shape} and {len(class_names)} classes")
    names = list(class_names) if overlapping else list(class_names[1:])
    size, magnified = panel_size(image.shape[:2], spacing)
    scan = scan_panel(image, size)
    true, called = (mask_layers(resize_mask(mask, size), len(names), overlapping) for mask in (truth, prediction))
    strange = resize_mask(truth, size) > (1 if overlapping else len(names))
    unknown = np.asarray(strange.any(axis=0) if overlapping else strange)

    width = outline_width(magnified)
    truth_panel = paint_masks(scan, true, width)
    truth_panel[unknown] = UNKNOWN
    errors, found = _errors(scan, true, called, unknown)
    picture = grid(
        [("scan", scan), ("truth", truth_panel), ("prediction", paint_masks(scan, called, width)), ("errors", errors)]
    )
    return legend(picture, [*_named(names, true | called), *found])


def called_overlay(
    image: NDArray[np.float32],
    prediction: NDArray[Any],
    class_names: Sequence[str],
    overlapping: bool = False,
    spacing: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """One picture of a case without truth in two panels: the scan, and the prediction on it; see :func:`overlay`.

    Raises:
        ValueError: the shapes, or the numbers of layers and names, differ.
    """
    if prediction.shape[-2:] != image.shape[:2] or (overlapping and len(prediction) != len(class_names)):
        raise ValueError(
            f"a mask of shape {prediction.shape} for an image {image.shape} and {len(class_names)} classes"
        )
    names = list(class_names) if overlapping else list(class_names[1:])
    size, magnified = panel_size(image.shape[:2], spacing)
    scan = scan_panel(image, size)
    called = mask_layers(resize_mask(prediction, size), len(names), overlapping)
    picture = grid([("scan", scan), ("prediction", paint_masks(scan, called, outline_width(magnified)))])
    return legend(picture, _named(names, called))


def _named(names: Sequence[str], layers: BoolArray) -> list[tuple[str, Colour]]:
    """Entries of the legend: the classes that are there."""
    present = [number for number in range(len(names)) if layers[number].any()]
    return [(names[number], class_colour(number)) for number in present[:_NAMED]]


def _errors(
    scan: NDArray[np.uint8], true: BoolArray, called: BoolArray, unknown: BoolArray
) -> tuple[NDArray[np.uint8], list[tuple[str, Colour]]]:
    """The panel of errors, and what its legend says: each kind of error that there is."""
    dimmed = 0.4 * scan.mean(axis=2, keepdims=True).repeat(3, axis=2)
    missed, false = (true & ~called).any(axis=0), (called & ~true).any(axis=0)
    right = (true & called).any(axis=0)
    dimmed[right] = 0.65 * dimmed[right] + 0.35 * 255
    panel = np.round(dimmed).astype(np.uint8)
    kinds: list[tuple[str, Colour, BoolArray]] = [
        ("missed", MISSED, missed & ~false & ~unknown),
        ("false call", FALSE_CALL, false & ~missed & ~unknown),
        ("wrong class", WRONG_CLASS, missed & false & ~unknown),
        ("unknown", UNKNOWN, unknown),
    ]
    for _, colour, where in kinds:
        panel[where] = colour
    return panel, [(name, colour) for name, colour, where in kinds if where.any()]


@dataclass(frozen=True, eq=False)
class Shown:
    """Part of a case that is drawn: a flat image, or a slice of a volume.

    Attributes:
        image: see :func:`overlay`.
        truth: see :func:`overlay`.
        prediction: see :func:`overlay`.
        note: stands at the end of the title, such as ``slice 17 of 35``.
        spacing: mm per row and column; None = unknown.
    """

    image: NDArray[np.float32]
    truth: NDArray[Any]
    prediction: NDArray[Any]
    note: str = ""
    spacing: tuple[float, float] | None = None


def write_overlays(
    folder: Path,
    split: str,
    predictions: pd.DataFrame,
    load: Callable[[str], Shown],
    class_names: Sequence[str],
    overlapping: bool = False,
    metric: str = "dice",
) -> list[Overlay]:
    """Draw the best, the median and the worst case of a split as ``<split>_<rank>_<case id>.png``.

    Pictures of the same split that an earlier evaluation left in the folder are removed.

    Args:
        folder: where to; made if need be.
        split: ``val`` or ``test``.
        predictions: the rows of the split, see :func:`pick_cases`.
        load: what is drawn of a case; called once for each.
        class_names: in class order, background first; with ``overlapping`` the regions.
        overlapping: masks have a layer for each region.
        metric: what cases are ranked by; stands in the title.

    Returns:
        The pictures with their titles, best first.

    Raises:
        SuiteError: the folder cannot be written to, or the table has no such metric.
    """

    def draw(rank: Rank, case_id: str) -> tuple[str, NDArray[np.uint8]]:
        shown = load(case_id)
        picture = overlay(shown.image, shown.truth, shown.prediction, class_names, overlapping, shown.spacing)
        return _title(rank, split, case_id, shown.note, predictions, metric), picture

    return write_pictures(folder, split, pick_cases(predictions, metric), draw)


def _title(rank: Rank, split: str, case_id: str, note: str, predictions: pd.DataFrame, metric: str) -> str:
    """``worst of val: hippocampus_204, Dice 0.873 (slice 17 of 35)``; the value is that of the whole case."""
    value = float(predictions[metric][predictions["case_id"] == case_id].mean())
    named = {"dice": "Dice", "iou": "IoU"}.get(metric, metric)
    return f"{rank} of {split}: {case_id}, {named} {value:.3f}" + (f" ({note})" if note else "")
