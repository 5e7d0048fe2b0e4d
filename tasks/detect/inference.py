"""Inference of a detector on files: a table of boxes, COCO JSON and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from torch.utils.data import DataLoader

from datamodules.cases.table import CaseTable
from datamodules.inputs import InputFiles
from tasks.deployment.case_results import Sink
from tasks.deployment.detected import BoxOutput, CaseBoxes, DetectionPredictions, DetectorFacts
from tasks.deployment.flags import DETECT_FLAGS
from tasks.detect.collect import BoxCollector
from tasks.detect.ensemble import DetectionModel
from tasks.distributed import gather, is_rank_zero
from tasks.registry.flag import OwnFlags
from tasks.running.inference import Inference


class DetectionInference(Inference[DetectionModel]):
    """Draws a case as soon as its last tile has come; see :class:`~tasks.running.inference.Inference`."""

    flags: ClassVar[OwnFlags] = DETECT_FLAGS

    def __init__(
        self, model: DetectionModel, inputs: InputFiles, output: Path | None, options: Mapping[str, Any]
    ) -> None:
        self.model, self.inputs = model, inputs
        self.preprocess = inputs.prepared(model.preprocess)
        facts = DetectorFacts(model.class_names, self.preprocess, model.calibration, model.operating_points)
        self.output = BoxOutput(facts, inputs.limits, output, options)
        self.callback: BoxCollector = BoxCollector()
        self.callback.start(
            self._finished, overlap=model.overlap, nms_iou=model.decoding.nms_iou, max_detections=model.max_detections
        )

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file."""
        return self.inputs.table(paths)

    def loader(self, table: CaseTable, rank: int, world_size: int) -> DataLoader[Any]:
        """Batches of pieces of cases."""
        source = self.inputs.source(table, self.preprocess)
        model = self.model
        return self.inputs.pieces(source, self.preprocess, model.tile, model.overlap, rank, world_size)

    def send_to(self, sink: Sink) -> None:
        """See :meth:`~tasks.running.inference.Inference.send_to`."""
        self.output.sink = sink

    def _finished(self, case: CaseBoxes) -> None:
        self.output.add(case)

    def finish(self) -> pd.DataFrame:
        """The boxes of all cases; ``detections.json`` is written too."""
        parts = gather((self.output.boxes, self.output.scans))
        boxes, scans = ([one for part in parts for one in part[number]] for number in (0, 1))
        return self.output.finish(boxes, scans, write=is_rank_zero())

    def result(
        self, predictions: pd.DataFrame, cases: Sequence[str], failed: Sequence[tuple[str, str]]
    ) -> DetectionPredictions:
        """Result with boxes by case."""
        return DetectionPredictions(predictions, cases, failed)
