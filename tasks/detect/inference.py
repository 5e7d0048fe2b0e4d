"""Inference of a detector on files: a table of boxes, COCO JSON and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from datamodules.cases.table import CaseTable
from datamodules.inputs import InputFiles
from datamodules.readers import formats
from datamodules.samples.picture import picture
from tasks.deployment.boxes import write_box_picture, write_coco
from tasks.detect.collect import BoxCollector, CaseBoxes
from tasks.detect.ensemble import DetectionModel
from tasks.detect.evaluator import box_rows, call_boxes_at, join_boxes
from tasks.distributed import gather, is_rank_zero
from tasks.evaluation.calibration.tables import calibrate_boxes
from tasks.evaluation.pictures.box_overlays import called
from tasks.registry.flag import Flag, OwnFlags
from tasks.running.inference import Inference
from tasks.running.predictions import Predictions
from tasks.running.recorder import join, scan_rows


class DetectionPredictions(Predictions):
    """See :class:`~tasks.running.predictions.Predictions`."""

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


class DetectionInference(Inference[DetectionModel]):
    """Draws a case as soon as its last tile has come; see :class:`~tasks.running.inference.Inference`."""

    flags: ClassVar[OwnFlags] = {"pictures": Flag("draw the calls on each image", bool | None, True)}

    def __init__(
        self, model: DetectionModel, inputs: InputFiles, output: Path | None, options: Mapping[str, Any]
    ) -> None:
        self.model, self.inputs, self.output = model, inputs, output
        self.pictures = self.draws(options) and output is not None
        self.preprocess = inputs.prepared(model.preprocess)
        self.callback: BoxCollector = BoxCollector()
        self.callback.start(
            self._finished, overlap=model.overlap, nms_iou=model.decoding.nms_iou, max_detections=model.max_detections
        )
        self._boxes: list[pd.DataFrame] = []
        self._scans: list[pd.DataFrame] = []

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file."""
        return self.inputs.table(paths)

    def loader(self, table: CaseTable, rank: int, world_size: int) -> DataLoader[Any]:
        """Batches of pieces of cases."""
        source = self.inputs.source(table, self.preprocess)
        model = self.model
        return self.inputs.pieces(source, self.preprocess, model.tile, model.overlap, rank, world_size)

    def _finished(self, case: CaseBoxes) -> None:
        rows = calibrate_boxes(box_rows(case, self.model.class_names), self.model.calibration)
        rows = call_boxes_at(rows, self.model.operating_points)
        self._boxes.append(rows)
        self._scans.append(scan_rows([case.scan]).assign(path=case.scan["path"]))
        if self.pictures and self.output is not None:
            image = picture(formats.read(Path(case.scan["path"]), self.inputs.limits), self.preprocess)
            calls = called(rows, self.model.operating_points)
            write_box_picture(
                self.output / "pictures", case.scan["case_id"], image.astype(np.float32), calls, self.model.class_names
            )

    def finish(self) -> pd.DataFrame:
        """The boxes of all cases; ``detections.json`` is written too."""
        parts = gather((self._boxes, self._scans))
        boxes = join_boxes([one for some, _ in parts for one in some])
        scans = join([one for _, some in parts for one in some])
        if self.output is not None and is_rank_zero() and len(scans):
            write_coco(self.output / "detections.json", scans, boxes, self.model.class_names)
        return boxes

    def result(
        self, predictions: pd.DataFrame, cases: Sequence[str], failed: Sequence[tuple[str, str]]
    ) -> DetectionPredictions:
        """Result with boxes by case."""
        return DetectionPredictions(predictions, cases, failed)
