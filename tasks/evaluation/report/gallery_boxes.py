"""Boxes of a case as a gallery draws them: true ones and calls, and which of them are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.pictures.panels import class_colour
from tasks.evaluation.detection.boxes import CORNERS, MARKS
from tasks.evaluation.detection.called_boxes import called
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.pictures.box_overlays import pair_boxes
from tasks.evaluation.report.content import GalleryBox

_MOST = 100  # boxes of a kind


def case_boxes(tables: PartTables, case_id: str, size: tuple[int, int]) -> list[GalleryBox]:
    """The boxes of a case, true ones first; of more than 100 calls the best.

    Args:
        tables: of a part in detection.
        case_id: of the case.
        size: (height, width) of its image as stored.
    """
    assert tables.targets is not None
    points = tables.task.operating_points
    names = tables.task.class_names
    colours = {name: "#{:02x}{:02x}{:02x}".format(*class_colour(number)) for number, name in enumerate(names)}
    true = tables.targets[tables.targets["case_id"] == case_id]
    calls = called(tables.predictions[tables.predictions["case_id"] == case_id], points)
    calls = calls.sort_values("score", ascending=False, kind="stable")
    paired = pair_boxes(true, calls)
    ignored = np.zeros(len(true), dtype=bool)
    for mark in MARKS:
        if mark in true:
            ignored |= true[mark].fillna(False).astype(bool).to_numpy()
    shown = [
        GalleryBox("truth", str(label), edges, colours.get(label, "#808080"), None, bool(missed), bool(spared))
        for label, edges, missed, spared in zip(
            true["label"], _shares(true, size), ~paired.found & ~ignored, ignored, strict=True
        )
    ]
    false = ~paired.right & ~paired.ignored
    shown += [
        GalleryBox(
            "prediction", str(label), edges, colours.get(label, "#808080"), float(score), bool(wrong), bool(spared)
        )
        for label, score, edges, wrong, spared in zip(
            calls["label"], calls["score"], _shares(calls, size), false, paired.ignored, strict=True
        )
    ][:_MOST]
    return shown


def found_words(boxes: Sequence[GalleryBox]) -> str:
    """How many true boxes were found, and how many calls are false: ``3 of 5, 2 false``."""
    true = [box for box in boxes if box.kind == "truth" and not box.ignored]
    false = sum(box.wrong for box in boxes if box.kind == "prediction")
    return f"{sum(not box.wrong for box in true)} of {len(true)}, {false} false"


def _shares(boxes: pd.DataFrame, size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Corners as shares of width and height, within the image."""
    height, width = size
    edges: NDArray[np.float64] = boxes[list(CORNERS)].to_numpy(dtype=np.float64) / [width, height, width, height]
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in np.clip(edges, 0, 1).tolist()]
