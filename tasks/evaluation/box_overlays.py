"""Pictures of good and bad cases of detection: scan, true boxes, calls, and where these differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.box_calls import CALL_IOU
from tasks.evaluation.canvas import Colour, grid, legend
from tasks.evaluation.pictures import (
    CLASS_COLOURS,
    FALSE_CALL,
    MISSED,
    UNKNOWN,
    Overlay,
    Rank,
    panel_size,
    rank_cases,
    scan_panel,
    write_pictures,
)

UNCHOSEN_SCORE = 0.5  # of a call, where a class has no operating point
_EDGES = ["x1", "y1", "x2", "y2"]
_NAMED = 12  # classes in the legend
_HIT: Colour = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class ShownBoxes:
    """What is drawn of a case.

    Attributes:
        image: (H, W, C) in [0, 1], as stored.
        targets: its true boxes, with ``label``, edges in pixels and perhaps ``ignore``.
        predictions: its found boxes, with ``label``, ``score`` and edges.
    """

    image: NDArray[np.float32]
    targets: pd.DataFrame
    predictions: pd.DataFrame


def called(predictions: pd.DataFrame, points: Mapping[str, float]) -> pd.DataFrame:
    """The boxes that are calls: from their class's operating point on, or from 0.5 where it has none."""
    return predictions[
        predictions["score"] >= predictions["label"].map(points).astype("float64").fillna(UNCHOSEN_SCORE)
    ]


def pair_boxes(targets: pd.DataFrame, calls: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which true boxes of an image are found, and which calls are right: IoU from 0.5, one to one, best score first.

    Args:
        targets: true boxes with ``label`` and edges.
        calls: the same with ``score``.

    Returns:
        (N,) for the true boxes, and (M,) for the calls.
    """
    found, right = np.zeros(len(targets), dtype=bool), np.zeros(len(calls), dtype=bool)
    overlaps = _overlaps(targets[_EDGES].to_numpy(float), calls[_EDGES].to_numpy(float))
    same = targets["label"].to_numpy()[:, None] == calls["label"].to_numpy()[None, :]
    overlaps = np.where(same, overlaps, 0.0)
    for number in np.argsort(-calls["score"].to_numpy(float), kind="stable"):
        free = np.where(found, 0.0, overlaps[:, number])
        if len(free) and free.max() >= CALL_IOU:
            found[free.argmax()], right[number] = True, True
    return found, right


def _overlaps(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) IoU."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(some[:, 2] - some[:, 0]) * (some[:, 3] - some[:, 1]) for some in (boxes, others)]
    union = areas[0][:, None] + areas[1][None, :] - common
    shares: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def case_f1(
    case_ids: Sequence[str], targets: pd.DataFrame, predictions: pd.DataFrame, points: Mapping[str, float]
) -> pd.Series:
    """F1 of the calls of each case, by case id; NaN where there is neither a true box nor a call."""
    if "ignore" in targets:
        targets = targets[~targets["ignore"].astype(bool)]
    of_case = [dict(list(table.groupby("case_id"))) for table in (targets, called(predictions, points))]
    values = []
    for case in case_ids:
        true, calls = of_case[0].get(case, targets.iloc[:0]), of_case[1].get(case, predictions.iloc[:0])
        both = len(true) + len(calls)
        values.append(2 * pair_boxes(true, calls)[0].sum() / both if both else math.nan)
    return pd.Series(values, index=list(case_ids), dtype="float64")


def box_overlay(shown: ShownBoxes, class_names: Sequence[str], points: Mapping[str, float]) -> NDArray[np.uint8]:
    """One picture of a case in four panels: the scan, the true boxes, the calls, and their errors on a dimmed scan.

    Args:
        shown: the case.
        class_names: in class order.
        points: lowest score of a call by class.

    Returns:
        (H', W', 3) RGB; panels as in :func:`tasks.evaluation.pictures.panel_size`.
    """
    size, _ = panel_size(shown.image.shape[:2], None)
    scale = np.array([size[1] / shown.image.shape[1], size[0] / shown.image.shape[0]] * 2)
    scan = scan_panel(shown.image, size)
    colours = {name: CLASS_COLOURS[number % len(CLASS_COLOURS)] for number, name in enumerate(class_names)}
    ignored = np.zeros(len(shown.targets), dtype=bool)
    if "ignore" in shown.targets:
        ignored = shown.targets["ignore"].to_numpy(bool)
    targets, unclear = shown.targets[~ignored], shown.targets[ignored]
    calls = called(shown.predictions, points)
    found, right = pair_boxes(targets, calls)

    def drawn(panel: NDArray[np.uint8], boxes: pd.DataFrame, colour: Sequence[Colour]) -> NDArray[np.uint8]:
        import cv2

        panel = panel.copy()
        for edges, one in zip(boxes[_EDGES].to_numpy(float) * scale, colour, strict=True):
            x1, y1, x2, y2 = (round(edge) for edge in edges)
            cv2.rectangle(panel, (x1, y1), (x2 - 1, y2 - 1), one, 2)
        return panel

    truth = drawn(scan, targets, [colours[name] for name in targets["label"]])
    truth = drawn(truth, unclear, [UNKNOWN] * len(unclear))
    dimmed = np.round(0.5 * scan).astype(np.uint8)
    errors = drawn(dimmed, calls[right], [_HIT] * int(right.sum()))
    errors = drawn(errors, calls[~right], [FALSE_CALL] * int((~right).sum()))
    errors = drawn(errors, targets[~found], [MISSED] * int((~found).sum()))
    picture = grid(
        [
            ("scan", scan),
            ("truth", truth),
            ("prediction", drawn(scan, calls, [colours[name] for name in calls["label"]])),
            ("errors", errors),
        ]
    )
    seen = {*targets["label"], *calls["label"]}
    entries = [(name, colours[name]) for name in class_names if name in seen][:_NAMED]
    kinds: list[tuple[str, Colour, NDArray[np.bool_]]] = [
        ("missed", MISSED, ~found),
        ("false call", FALSE_CALL, ~right),
        ("to be ignored", UNKNOWN, ignored),
    ]
    return legend(picture, [*entries, *((name, colour) for name, colour, some in kinds if some.any())])


def write_box_overlays(
    folder: Path,
    split: str,
    f1: pd.Series,
    load: Callable[[str], ShownBoxes],
    class_names: Sequence[str],
    points: Mapping[str, float],
) -> list[Overlay]:
    """Draw the best, the median and the worst case of a split, see :func:`tasks.evaluation.pictures.write_pictures`.

    Args:
        folder: where to; made if need be.
        split: ``val`` or ``test``.
        f1: of each case, see :func:`case_f1`.
        load: what is drawn of a case; called once for each.
        class_names: in class order.
        points: lowest score of a call by class.

    Raises:
        SuiteError: the folder cannot be written to.
    """

    def draw(rank: Rank, case_id: str) -> tuple[str, NDArray[np.uint8]]:
        title = f"{rank} of {split}: {case_id}, F1 {f1[case_id]:.3f}"
        return title, box_overlay(load(case_id), class_names, points)

    return write_pictures(folder, split, rank_cases(f1), draw)
