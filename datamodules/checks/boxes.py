"""Plausibility of boxes, beyond the rules by which they are made tidy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.table import SPLITS
from datamodules.checks.labels import class_counts
from datamodules.checks.plots import Numbers, Plot
from datamodules.checks.store import FindingStore
from datamodules.checks.survey import Survey
from datamodules.detection.boxes import CORNERS
from datamodules.stored import StoredBoxes

_TINY = 3.0  # pixels
_COINCIDE = 0.9  # IoU
_MOST_BOXES = 1000  # of an image that are compared with each other


def check_boxes(survey: Survey, stored: StoredBoxes, store: FindingStore) -> list[Plot]:
    """Note boxes that coincide or are tiny, and images without any; count classes in each part."""
    boxes, cases, names = stored.boxes, survey.table.cases, list(stored.classes)
    if len(boxes) == 0:
        store.add("annotation", "no image has a box", severity="error")
        return []
    corners = boxes[CORNERS].to_numpy(np.float64)
    sides = (corners[:, 2:] - corners[:, :2]).min(axis=1)
    for case, count in pd.Series(boxes["case"].to_numpy()[sides < _TINY]).value_counts(sort=False).items():
        store.add("box_tiny", f"boxes with a side below {_TINY:g} pixels: {count}", case=int(str(case)))
    for (case, label), group in boxes.groupby(["case", "label"], sort=False):
        pairs = _coinciding(corners[group.index.to_numpy()])
        if pairs:
            store.add(
                "box_overlap",
                f"pairs of boxes of {label!r} with an IoU above {_COINCIDE}: {pairs}",
                case=int(str(case)),
            )
    bare = len(cases) - boxes["case"].nunique()
    if bare:
        store.add("no_boxes", f"{bare} of {len(cases)} images have no box")
    part = cases["split"].to_numpy(dtype=object)[boxes["case"].to_numpy()]
    number = pd.Categorical(boxes["label"], categories=names).codes
    counts = {
        one: np.bincount(number[(part == one) & (number >= 0)], minlength=len(names)).astype(float).tolist()
        for one in SPLITS
        if (cases["split"] == one).any()
    }
    plots = class_counts(counts, names, store, refused=False, what="box")
    width, height = (corners[:, 2:] - corners[:, :2]).T
    return [*plots, Numbers("Sizes of boxes", {"width": width, "height": height}, "pixels")]


def _coinciding(corners: NDArray[np.float64]) -> int:
    if not 2 <= len(corners) <= _MOST_BOXES:
        return 0
    # In NumPy: a check would wait for the import of torchvision, which the data modules do not need otherwise.
    first, second = corners[:, None], corners[None]
    shared = np.clip(np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]), 0, None)
    inter = shared.prod(axis=2)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    iou = inter / (areas[:, None] + areas[None] - inter)
    return int(np.triu(iou > _COINCIDE, 1).sum())
