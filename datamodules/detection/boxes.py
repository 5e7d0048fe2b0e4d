"""Table of boxes for every format, and the rules by which it is made tidy.

Boxes are xyxy in pixels of the image as stored, half-open: x2 - x1 is the width, and (0, 0, W, H) the whole image.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.faults import is_collecting, note_of_check, report_fault

log = logging.getLogger(__name__)

CORNERS = ["x1", "y1", "x2", "y2"]
# Pixels. Fractions with six digits (YOLO) are that far off on an image of ten thousand pixels.
_ROUNDING = 0.01


@dataclass
class RawBoxes:
    """Boxes as files name them, case by case; a data class fills it.

    Attributes:
        cases: row number of each box's case.
        labels: class name of each box.
        corners: xyxy of each box, in pixels.
        ignore: whether a box neither trains nor is evaluated (``iscrowd``, ``difficult``).
        difficult: whether it is ignored as VOC's difficult, which is evaluated by another rule than a crowd.
    """

    cases: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    corners: list[tuple[float, float, float, float]] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)

    def add(
        self,
        case: int,
        label: str,
        corners: tuple[float, float, float, float],
        where: str,
        *,
        ignore: bool = False,
        difficult: bool = False,
    ) -> None:
        """Add a box; one that is difficult is ignored.

        Raises:
            scansuite.errors.SuiteError: a coordinate is NaN or infinite; names ``where``.
        """
        if not all(map(math.isfinite, corners)):
            text = f"{where}: a box of {label!r} has coordinates that are NaN or infinite: mend or remove it"
            report_fault("bad_box", text, [where])
            return
        self.cases.append(case)
        self.labels.append(label)
        self.corners.append(corners)
        self.ignore.append(ignore or difficult)
        self.difficult.append(difficult)

    def of_classes(self, names: Container[str]) -> RawBoxes:
        """The boxes of these classes."""
        kept = [number for number, label in enumerate(self.labels) if label in names]
        if len(kept) == len(self.labels):
            return self
        return RawBoxes(
            [self.cases[number] for number in kept],
            [self.labels[number] for number in kept],
            [self.corners[number] for number in kept],
            [self.ignore[number] for number in kept],
            [self.difficult[number] for number in kept],
        )


def tidy_boxes(raw: RawBoxes, sizes: NDArray[np.int64], where: Sequence[str]) -> pd.DataFrame:
    """Apply the rules, and say in one line each how many boxes they concern and where the first one stands.

    Boxes without width or height are dropped, then those wholly outside their image; those partly outside are clipped
    to it; of boxes that are equal in class, place and ``ignore`` the first is kept.

    Args:
        raw: boxes as files name them.
        sizes: (N, 2) height and width of the image of each case.
        where: for each case, what a message names.

    Returns:
        One row a box, by case and else in the files' order: ``case`` (row number), ``label`` (class name), ``x1``,
        ``y1``, ``x2``, ``y2`` (float64), ``ignore`` and ``difficult`` (bool).
    """
    frame = pd.DataFrame({"case": np.array(raw.cases, np.int64), "label": pd.Series(raw.labels, dtype="str")})
    corners = np.array(raw.corners, np.float64).reshape(-1, 4)
    frame[CORNERS] = corners
    frame["ignore"], frame["difficult"] = np.array(raw.ignore, bool), np.array(raw.difficult, bool)
    frame = frame.sort_values("case", kind="stable", ignore_index=True)
    frame = _drop(frame, ~_has_area(frame), "without width or height are dropped", where, "box_empty")
    before = frame[CORNERS].to_numpy()
    limits = sizes[frame["case"].to_numpy()][:, [1, 0, 1, 0]] if len(frame) else np.zeros((0, 4))
    after = np.clip(before, 0, limits)
    moved = (np.abs(after - before) > _ROUNDING).any(axis=1)
    frame[CORNERS] = after
    outside = ~_has_area(frame)
    _report(frame, moved & ~outside, "partly outside their image are clipped to it", where, "box_clipped")
    frame = _drop(frame, outside, "wholly outside their image are dropped", where, "box_outside")
    twice = frame.duplicated(["case", "label", *CORNERS, "ignore"]).to_numpy()
    return _drop(frame, twice, "that are duplicated are kept once", where, "box_twice")


def _has_area(frame: pd.DataFrame) -> NDArray[np.bool_]:
    x1, y1, x2, y2 = (frame[name].to_numpy() for name in CORNERS)
    return np.asarray((x2 - x1 > _ROUNDING) & (y2 - y1 > _ROUNDING))


def _drop(frame: pd.DataFrame, rows: NDArray[np.bool_], rule: str, where: Sequence[str], kind: str) -> pd.DataFrame:
    _report(frame, rows, rule, where, kind)
    return frame[~rows].reset_index(drop=True)


def _report(frame: pd.DataFrame, rows: NDArray[np.bool_], rule: str, where: Sequence[str], kind: str) -> None:
    if not rows.any():
        return
    if is_collecting():
        struck = frame[rows]
        for case, label, corners in zip(struck["case"], struck["label"], struck[CORNERS].to_numpy(), strict=True):
            place = ", ".join(f"{corner:.6g}" for corner in corners)
            note_of_check(kind, f"a box of {label!r} at ({place}); boxes {rule}", where[int(case)], int(case))
        return
    cases = frame["case"].to_numpy()[rows]
    log.warning("%d boxes %s (in %d images, the first: %s)", rows.sum(), rule, len(set(cases)), where[cases[0]])


class BoxesByCase:
    """The boxes of a table, to be taken case by case.

    Args:
        table: of :func:`tidy_boxes`.
        labels: (N,) class number of each of its boxes.
        cases: how many cases there are.
    """

    def __init__(self, table: pd.DataFrame, labels: NDArray[np.int64], cases: int) -> None:
        self._corners = np.array(table[CORNERS], dtype=np.float64)
        self._ignore = np.array(table["ignore"], dtype=bool)
        self._difficult = np.array(table["difficult"], dtype=bool)
        self._labels = np.array(labels, dtype=np.int64)
        self._ends = np.searchsorted(table["case"].to_numpy(), np.arange(cases + 1))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        return (self[case] for case in range(len(self)))

    def __getitem__(self, case: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(N, 4) corners and (N,) class numbers of the boxes of a case that are not ignored."""
        rows = self._rows(case, ignored=False)
        return self._corners[rows], self._labels[rows]

    def ignored(self, case: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        """(M, 4) corners and (M,) class numbers of those that are, and (M,) whether as VOC's difficult."""
        rows = self._rows(case, ignored=True)
        return self._corners[rows], self._labels[rows], self._difficult[rows]

    def _rows(self, case: int, *, ignored: bool) -> NDArray[np.intp]:
        rows: NDArray[np.intp] = np.arange(self._ends[case], self._ends[case + 1])
        kept: NDArray[np.intp] = rows[self._ignore[rows] == ignored]
        return kept
