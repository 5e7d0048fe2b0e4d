"""Which cases are shown: drawn so that each class is among them, or named."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.ids import clean_id
from datamodules.detection.base import DetectionData
from datamodules.segmentation.base import SegmentationData
from datamodules.showing.turns import by_class, take_turns
from datamodules.transforms.sheet import classes_in
from scansuite.errors import SuiteError, nearest
from scansuite.progress import progress
from scansuite.random_streams import SHOWN

# What a mask shows is known once it is read. So many are, at most, to find a case of every class.
_MOST_MASKS = 1000
_COMPARED = 2000  # names that a mistyped one is compared with: those beside it in alphabetic order


class Chosen(NamedTuple):
    """Cases to show.

    Attributes:
        rows: their rows of the case table.
        absent: classes that none of the cases that were looked at has.
        looked_at: how many cases were looked at to find one of each class; None: all of them.
    """

    rows: list[int]
    absent: list[str]
    looked_at: int | None = None


def draw_cases(data: ScanDataModule, rows: NDArray[np.int64], count: int, seed: int) -> Chosen:
    """Draw cases, classes in turn; equal seeds, equal cases.

    Args:
        data: whose cases they are.
        rows: of the case table, to draw from.
        count: how many, if there are so many.
        seed: of the draw.

    Raises:
        SuiteError: a mask has to be read to know its classes, and cannot be.
    """
    rng = np.random.default_rng([seed, SHOWN])
    rows = rng.permutation(rows)
    labels, looked_at = _labels(data, rows, count)
    rows = rows if looked_at is None else rows[:looked_at]
    if labels is None:
        return Chosen(rows[:count].tolist(), [])
    groups = by_class(labels, count)
    # Of cases that are in several groups the rarest decides: it comes first.
    groups.sort(key=len)
    return Chosen(rows[take_turns(groups, count)].tolist(), _absent(data, labels), looked_at)


def named_cases(data: ScanDataModule, names: Sequence[str]) -> list[int]:
    """The rows of the cases that are named, in their order, none twice.

    Raises:
        SuiteError: there is no such case.
    """
    known = {str(name): row for row, name in enumerate(data.table.cases["case_id"])}
    rows = []
    for name in names:
        row = known.get(name, known.get(clean_id(name)))
        if row is None:
            everybody = sorted(known)
            place = bisect(everybody, name)
            beside = everybody[max(0, place - _COMPARED // 2) : place + _COMPARED // 2]
            raise SuiteError(f"--case_id {name}: no such case: {nearest(name, beside)}")
        rows.append(row)
    return list(dict.fromkeys(rows))


def annotated_names(data: ScanDataModule) -> list[str]:
    """Names of the classes that masks or boxes may have, in the order of their colours."""
    names = list(getattr(data, "class_names", ()))
    return names[1:] if isinstance(data, SegmentationData) and not data.overlapping else names


def _labels(data: ScanDataModule, rows: NDArray[np.int64], count: int) -> tuple[NDArray[Any] | None, int | None]:
    """What the cases are: targets, or (N, C) which classes each shows; and of how many of them that is known."""
    targets = data.case_labels(rows)
    if targets is not None:
        return targets.numpy(), None
    if isinstance(data, DetectionData):
        shown = np.zeros((len(rows), data.num_classes))
        for place, row in enumerate(rows):
            shown[place, data.boxes_of(int(row))[1]] = 1
        return shown, None
    if isinstance(data, SegmentationData):
        masks = _masks(data, rows, count)
        return masks, len(masks)
    return None, None


def _masks(data: SegmentationData, rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(M, C) which classes the masks of the first cases show: of so many as are wanted, and until each was seen."""
    classes = len(annotated_names(data))
    shown = np.zeros((len(rows), classes))
    looked_at = read = 0
    with progress("looking for classes", "masks") as tell:
        while looked_at < len(rows):
            if looked_at >= count and (shown.any(axis=0).all() or read >= _MOST_MASKS):
                break
            (images,) = data.images_by_case(rows[looked_at : looked_at + 1])
            for image in images:
                shown[looked_at, list(classes_in(data.read_mask(int(image))))] = 1
                read += 1
                tell(read)
            looked_at += 1
    return shown[:looked_at]


def _absent(data: ScanDataModule, labels: NDArray[Any]) -> list[str]:
    if labels.ndim == 2:
        names = annotated_names(data)
        return [name for name, one in zip(names, (labels == 1).any(axis=0), strict=True) if not one]
    if labels.dtype.kind == "f":
        return []
    present = set(labels.tolist())
    return [name for number, name in enumerate(annotated_names(data)) if number not in present]
