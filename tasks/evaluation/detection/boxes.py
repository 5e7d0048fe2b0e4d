"""The boxes of a data set as flat arrays, from the tables of a run or from batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.evaluation.classification.weighted import BoolArray, FloatArray

IntArray = NDArray[np.intp]
CORNERS = ("x1", "y1", "x2", "y2")
MARKS = ("ignore", "difficult")


@dataclass(frozen=True)
class BoxSet:
    """True and found boxes of n images and K classes.

    Boxes are xyxy in pixels of the image as stored, half-open: x2 - x1 is the width.

    Attributes:
        images: n, boxes or none.
        class_names: K names in class order.
        true_image: ``(G,)`` image number of each true box, 0..n-1.
        true_label: ``(G,)`` class number, 0..K-1.
        true_boxes: ``(G, 4)``.
        ignore: ``(G,)`` neither to be found nor to be missed: COCO's crowd, VOC's difficult.
        difficult: ``(G,)`` of these, those that are VOC's difficult.
        image: ``(D,)`` image number of each found box.
        label: ``(D,)`` class number.
        boxes: ``(D, 4)``.
        score: ``(D,)``.
    """

    images: int
    class_names: tuple[str, ...]
    true_image: IntArray
    true_label: IntArray
    true_boxes: FloatArray
    ignore: BoolArray
    difficult: BoolArray
    image: IntArray
    label: IntArray
    boxes: FloatArray
    score: FloatArray


def read_boxes(
    cases: pd.DataFrame, targets: pd.DataFrame, predictions: pd.DataFrame, class_names: Sequence[str]
) -> BoxSet:
    """Read the boxes of one part.

    Args:
        cases: column ``case_id``, a row for each image evaluated, boxes or none; image numbers are places in this
            table.
        targets: true boxes, columns ``case_id,label,x1,y1,x2,y2`` and, where boxes are to be ignored, ``ignore``, and
            ``difficult`` where some of these are VOC's and no crowds.
        predictions: found boxes, columns ``case_id,label,score,x1,y1,x2,y2``; may be empty.
        class_names: in class order.

    Raises:
        SuiteError: a column is missing, a cell is not what it should be, or a case is duplicated or missing in
            ``cases``.
    """
    case_ids = pd.Index(_column(cases, "cases", "case_id"))
    if not case_ids.is_unique:
        twice = case_ids[case_ids.duplicated()][0]
        raise SuiteError(f"cases table: case {twice!r} is duplicated: each is evaluated once")
    difficult = _flags(targets, "targets", "difficult")
    return BoxSet(
        images=len(case_ids),
        class_names=tuple(class_names),
        true_image=_images(targets, "targets", case_ids),
        true_label=_labels(targets, "targets", class_names),
        true_boxes=_corners(targets, "targets"),
        ignore=_flags(targets, "targets", "ignore") | difficult,
        difficult=difficult,
        image=_images(predictions, "predictions", case_ids),
        label=_labels(predictions, "predictions", class_names),
        boxes=_corners(predictions, "predictions"),
        score=_numbers(predictions, "predictions", "score"),
    )


def join_boxes(
    targets: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]], class_names: Sequence[str]
) -> BoxSet:
    """Put the boxes of single images together.

    Args:
        targets: for each image ``boxes`` (N, 4) xyxy, ``labels`` (N,) class numbers and, where boxes are to be ignored,
            ``ignore`` and ``difficult`` (N,) bool; numpy arrays or what numpy makes one of.
        predictions: for the same images ``boxes``, ``scores`` and ``labels``.
        class_names: in class order.

    Raises:
        ValueError: the numbers of images differ.
    """
    if len(targets) != len(predictions):
        raise ValueError(f"{len(targets)} images with true boxes, but {len(predictions)} with found ones")

    def column(images: Sequence[Mapping[str, Any]], name: str, kind: type, *shape: int) -> NDArray[Any]:
        none: NDArray[Any] = np.zeros((0, *shape), dtype=kind)
        return np.concatenate([none, *(np.asarray(image[name], dtype=kind).reshape(-1, *shape) for image in images)])

    def numbers(images: Sequence[Mapping[str, Any]]) -> IntArray:
        return np.repeat(np.arange(len(images)), [len(image["labels"]) for image in images])

    marked = [{name: np.zeros(len(image["labels"]), bool) for name in MARKS} | dict(image) for image in targets]
    difficult = column(marked, "difficult", np.bool_)
    return BoxSet(
        images=len(targets),
        class_names=tuple(class_names),
        true_image=numbers(targets),
        true_label=column(targets, "labels", np.intp),
        true_boxes=column(targets, "boxes", np.float64, 4),
        ignore=column(marked, "ignore", np.bool_) | difficult,
        difficult=difficult,
        image=numbers(predictions),
        label=column(predictions, "labels", np.intp),
        boxes=column(predictions, "boxes", np.float64, 4),
        score=column(predictions, "scores", np.float64),
    )


def _column(frame: pd.DataFrame, table: str, name: str) -> pd.Series:
    if name not in frame:
        raise SuiteError(f"{table} table: no column {name!r} (found: {', '.join(map(str, frame.columns))})")
    return frame[name]


def _images(frame: pd.DataFrame, table: str, case_ids: pd.Index) -> IntArray:
    cells = _column(frame, table, "case_id").astype("str")
    numbers = case_ids.astype("str").get_indexer(pd.Index(cells)).astype(np.intp)
    strange = np.flatnonzero(numbers < 0)
    if len(strange):
        raise SuiteError(
            f"{table} table: case {cells.iloc[strange[0]]!r} in row {strange[0] + 1} is not in the cases table"
        )
    return numbers


def _labels(frame: pd.DataFrame, table: str, class_names: Sequence[str]) -> IntArray:
    cells = _column(frame, table, "label").astype("str")
    numbers = pd.Index(list(class_names)).get_indexer(pd.Index(cells)).astype(np.intp)
    strange = np.flatnonzero(numbers < 0)
    if len(strange):
        known = ", ".join(map(str, class_names[:10])) + (", ..." if len(class_names) > 10 else "")
        raise SuiteError(_at_row(frame, table, "label", strange[0], f"is none of the model's classes ({known})"))
    return numbers


def _corners(frame: pd.DataFrame, table: str) -> FloatArray:
    boxes = np.stack([_numbers(frame, table, name) for name in CORNERS], axis=1)
    for low, high in ((0, 2), (1, 3)):
        turned = np.flatnonzero(boxes[:, high] < boxes[:, low])
        if len(turned):
            problem = f"is less than {CORNERS[low]}: boxes are x1,y1,x2,y2"
            raise SuiteError(_at_row(frame, table, CORNERS[high], turned[0], problem))
    return boxes


def _numbers(frame: pd.DataFrame, table: str, name: str) -> FloatArray:
    numbers = pd.to_numeric(_column(frame, table, name), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise SuiteError(_at_row(frame, table, name, wrong[0], "is no finite number"))
    return numbers


def _flags(frame: pd.DataFrame, table: str, name: str) -> BoolArray:
    """True and False as pandas writes them, or 1 and 0; without the column nothing is marked."""
    if name not in frame:
        return np.zeros(len(frame), dtype=bool)
    words = frame[name].astype("str").str.lower()
    marked = words.isin(["true", "1", "1.0"]).to_numpy(dtype=bool)
    wrong = np.flatnonzero(~marked & ~words.isin(["false", "0", "0.0"]).to_numpy(dtype=bool))
    if len(wrong):
        raise SuiteError(_at_row(frame, table, name, wrong[0], "is neither true nor false"))
    return marked


def _at_row(frame: pd.DataFrame, table: str, name: str, row: int, problem: str) -> str:
    cell = frame[name].iloc[row]
    shown = "(empty)" if pd.isna(cell) else repr(cell) if isinstance(cell, str) else f"{cell}"
    return f"{table} table: {name} {shown} in row {row + 1} ({frame['case_id'].iloc[row]}) {problem}"
