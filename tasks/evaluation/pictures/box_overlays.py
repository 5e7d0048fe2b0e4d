"""Pictures of good and bad cases of detection: scan, true boxes, calls, and where these differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.pictures.boxes import draw_boxes
from datamodules.pictures.canvas import Colour, grid, legend
from datamodules.pictures.panels import UNKNOWN, class_colour, panel_size, scan_panel
from tasks.evaluation.detection.boxes import MARKS
from tasks.evaluation.detection.called_boxes import called
from tasks.evaluation.detection.calls import CALL_IOU
from tasks.evaluation.detection.matching import match_one
from tasks.evaluation.pictures.common import (
    FALSE_CALL,
    MISSED,
    Overlay,
    Rank,
    rank_cases,
    write_pictures,
)

_EDGES = ["x1", "y1", "x2", "y2"]
_NAMED = 12  # classes in the legend
_HIT: Colour = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class ShownBoxes:
    """Boxes of a case to be drawn.

    Attributes:
        image: (H, W, C) in [0, 1], as stored.
        targets: its true boxes, with ``label``, edges in pixels and perhaps ``ignore`` and ``difficult``.
        predictions: its found boxes, with ``label``, ``score`` and edges.
    """

    image: NDArray[np.float32]
    targets: pd.DataFrame
    predictions: pd.DataFrame


class Paired(NamedTuple):
    """Pairs of found and true boxes of an image, at an IoU from 0.5, one to one, best score first.

    Attributes:
        found: (N,) of the true boxes.
        right: (M,) of the calls.
        ignored: (M,) calls that count neither as right nor as false.
    """

    found: NDArray[np.bool_]
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]


def pair_boxes(targets: pd.DataFrame, calls: pd.DataFrame) -> Paired:
    """Pair the boxes of an image, by the rule of all metrics (:mod:`tasks.evaluation.detection.matching`).

    Args:
        targets: true boxes with ``label``, edges and perhaps ``ignore`` and ``difficult``.
        calls: found boxes with ``label``, edges and ``score``.
    """
    paired = Paired(np.zeros(len(targets), dtype=bool), *np.zeros((2, len(calls)), dtype=bool))
    true, edges = targets[_EDGES].to_numpy(float), calls[_EDGES].to_numpy(float)
    ignore, difficult = (_marked(targets, name) for name in MARKS)
    labels = targets["label"].to_numpy()
    order = np.argsort(-calls["score"].to_numpy(float), kind="stable")
    for label in calls["label"].unique():
        own = np.flatnonzero(labels == label)
        some = order[calls["label"].to_numpy()[order] == label]
        taken, spared = match_one(true[own], ignore[own], difficult[own], edges[some], CALL_IOU)
        paired.found[own[taken[taken >= 0]]] = True
        paired.right[some], paired.ignored[some] = taken >= 0, spared
    return paired


def _marked(targets: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    return targets[name].to_numpy(bool) if name in targets else np.zeros(len(targets), dtype=bool)


def case_f1(
    case_ids: Sequence[str], targets: pd.DataFrame, predictions: pd.DataFrame, points: Mapping[str, float]
) -> pd.Series:
    """F1 of the calls of each case, by case id; NaN where there is neither a true box nor a call."""
    of_case = [dict(list(table.groupby("case_id"))) for table in (targets, called(predictions, points))]
    values = []
    for case in case_ids:
        true, calls = of_case[0].get(case, targets.iloc[:0]), of_case[1].get(case, predictions.iloc[:0])
        paired = pair_boxes(true, calls)
        both = (~_marked(true, "ignore")).sum() + (~paired.ignored).sum()
        values.append(2 * paired.right.sum() / both if both else math.nan)
    return pd.Series(values, index=list(case_ids), dtype="float64")


def box_overlay(shown: ShownBoxes, class_names: Sequence[str], points: Mapping[str, float]) -> NDArray[np.uint8]:
    """One picture of a case in four panels: the scan, the true boxes, the calls, and their errors on a dimmed scan.

    Args:
        shown: the case.
        class_names: in class order.
        points: lowest score of a call by class.

    Returns:
        (H', W', 3) RGB; panels as in :func:`tasks.evaluation.pictures.common.panel_size`.
    """
    size, _ = panel_size(shown.image.shape[:2], None)
    scan = scan_panel(shown.image, size)
    colours = {name: class_colour(number) for number, name in enumerate(class_names)}
    ignored = _marked(shown.targets, "ignore")
    targets, unclear = shown.targets[~ignored], shown.targets[ignored]
    calls = called(shown.predictions, points)
    paired = pair_boxes(shown.targets, calls)
    found, right, false = paired.found[~ignored], paired.right, ~(paired.right | paired.ignored)

    def drawn(panel: NDArray[np.uint8], boxes: pd.DataFrame, colour: Sequence[Colour]) -> NDArray[np.uint8]:
        return draw_boxes(panel, boxes[_EDGES].to_numpy(float), shown.image.shape[:2], colour)

    truth = drawn(scan, targets, [colours[name] for name in targets["label"]])
    truth = drawn(truth, unclear, [UNKNOWN] * len(unclear))
    dimmed = np.round(0.5 * scan).astype(np.uint8)
    errors = drawn(dimmed, calls[right], [_HIT] * int(right.sum()))
    errors = drawn(errors, calls[false], [FALSE_CALL] * int(false.sum()))
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
        ("false call", FALSE_CALL, false),
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
    """Draw the best, the median and the worst case of a split, see :func:`~.common.write_pictures`.

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
