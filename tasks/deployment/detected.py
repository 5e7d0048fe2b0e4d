"""Detected boxes: from those of a case to its rows, its picture and COCO JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.readers import formats
from datamodules.readers.limits import Limits
from datamodules.samples.picture import picture
from datamodules.types import ScanInfo
from tasks.deployment.boxes import write_box_picture, write_coco
from tasks.deployment.case_results import Sink, boxes_result
from tasks.deployment.predictions import Predictions
from tasks.deployment.tables import draws, join, scan_rows
from tasks.evaluation.calibration.applying import calibrate_boxes
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.detection.called_boxes import called

BOX_COLUMNS = ["case_id", "label", "score", "x1", "y1", "x2", "y2"]


class CaseBoxes(NamedTuple):
    """Boxes found in a case.

    Attributes:
        case: number of the case among those of its loader.
        scan: of the case.
        boxes: (N, 4) xyxy in pixels of the image as stored.
        scores: (N,) in [0, 1], falling.
        labels: (N,) class numbers.
    """

    case: int
    scan: ScanInfo
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class DetectorFacts:
    """What turns the boxes of a detector into rows and calls.

    Attributes:
        class_names: in class order.
        preprocess: that the images were made with.
        calibration: of the scores; None: they are the model's own.
        operating_points: threshold by class.
    """

    class_names: Sequence[str]
    preprocess: Preprocess
    calibration: Calibration | None = None
    operating_points: Mapping[str, float] = field(default_factory=dict)

    def rows(self, case: CaseBoxes) -> pd.DataFrame:
        """Rows of a case with calibrated scores, and what is a call at the operating points."""
        return call_boxes_at(calibrate_boxes(box_rows(case, self.class_names), self.calibration), self.operating_points)


class DetectionPredictions(Predictions):
    """See :class:`~tasks.deployment.predictions.Predictions`."""

    @cached_property
    def boxes(self) -> dict[str, pd.DataFrame]:
        """Boxes by case id, best first: ``label,score,x1,y1,x2,y2`` (pixels as stored), and ``prediction_op``."""
        columns = [name for name in self.table if name not in ("case_id", "path")]
        found = {str(case): rows[columns].reset_index(drop=True) for case, rows in self.table.groupby("case_id")}
        return {case: found.get(case, self.table[columns].iloc[:0]) for case in self.cases}

    def found(self) -> str:
        """Number of boxes, and of those that count at the operating point."""
        called = f", {int(self.table['prediction_op'].notna().sum())} called" if "prediction_op" in self.table else ""
        return f", {len(self.table)} boxes{called}"


def box_rows(found: CaseBoxes, class_names: Sequence[str]) -> pd.DataFrame:
    """Rows of a case, one a box, highest score first: ``case_id,label,score,x1,y1,x2,y2``."""
    rows = pd.DataFrame(found.boxes.reshape(-1, 4), columns=BOX_COLUMNS[3:])
    rows.insert(0, "score", found.scores)
    rows.insert(0, "label", [class_names[label] for label in found.labels])
    rows.insert(0, "case_id", found.scan["case_id"])
    return rows


def call_boxes_at(rows: pd.DataFrame, points: Mapping[str, float]) -> pd.DataFrame:
    """Add ``prediction_op``: the label where a box is a call at its class's operating point; empty elsewhere."""
    if not points:
        return rows
    called = (
        rows["score"].to_numpy() >= rows["label"].map(dict(points)).astype("float64").to_numpy()
    )  # NaN: no point, no call
    return rows.assign(prediction_op=rows["label"].where(called))


def join_boxes(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Boxes of all ranks as one table, by case, best first within it."""
    some = [frame for frame in frames if len(frame)]
    if not some:
        return pd.DataFrame({name: pd.Series(dtype="str" if name in ("case_id", "label") else "float64")
                             for name in BOX_COLUMNS})  # fmt: skip
    return pd.concat(some, ignore_index=True).sort_values("case_id", ignore_index=True, kind="stable")


class BoxOutput:
    """Keeps the boxes of each case, and draws them.

    Args:
        facts: of the model.
        limits: of the files.
        output: folder for what is written; None: nothing is.
        options: values of :data:`~tasks.deployment.flags.DETECT_FLAGS`, None where left out.

    Attributes:
        boxes: of the cases so far, a table each.
        scans: of the cases so far: ``case_id,width,height,spacing,path``.
        sink: takes each result too; None: nobody asks.

    Raises:
        SuiteError: an option is none.
    """

    def __init__(self, facts: DetectorFacts, limits: Limits, output: Path | None, options: Mapping[str, Any]) -> None:
        self.facts, self.limits, self.output = facts, limits, output
        self.pictures = draws(options) and output is not None
        self.boxes: list[pd.DataFrame] = []
        self.scans: list[pd.DataFrame] = []
        self.sink: Sink | None = None

    def add(self, case: CaseBoxes) -> pd.DataFrame:
        """Take a case; its rows."""
        rows = self.facts.rows(case)
        self.boxes.append(rows)
        self.scans.append(scan_rows([case.scan]).assign(path=case.scan["path"]))
        calls = called(rows, self.facts.operating_points)
        if self.sink is not None:
            self.sink(boxes_result(case.scan, calls, self.limits))
        if self.pictures and self.output is not None:
            image = picture(formats.read(Path(case.scan["path"]), self.limits), self.facts.preprocess)
            write_box_picture(
                self.output / "pictures", case.scan["case_id"], image.astype(np.float32), calls, self.facts.class_names
            )
        return rows

    def finish(
        self, boxes: Sequence[pd.DataFrame], scans: Sequence[pd.DataFrame], *, write: bool = True
    ) -> pd.DataFrame:
        """The boxes of all cases; ``detections.json`` is written too.

        Args:
            boxes: :attr:`boxes` of all ranks.
            scans: :attr:`scans` of all ranks.
            write: this rank writes.
        """
        table, whole = join_boxes(boxes), join(scans)
        if self.output is not None and write and len(whole):
            write_coco(self.output / "detections.json", whole, table, self.facts.class_names)
        return table
