"""Evaluation of detection: boxes of whole cases in pixels of the images as stored, against the true ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import Trainer

from datamodules.detection.base import DetectionData
from datamodules.samples.picture import picture
from datamodules.samples.scaling import for_data
from tasks.deployment.detected import CaseBoxes, box_rows, call_boxes_at, join_boxes
from tasks.deployment.tables import join, scan_rows
from tasks.detect.collect import BoxCollector
from tasks.detect.ensemble import DetectionModel
from tasks.distributed import gather, is_rank_zero
from tasks.evaluation.calibration.applying import calibrate_boxes
from tasks.evaluation.calibration.tables import fit_on_frames, tell
from tasks.evaluation.detection.metrics import detection_operating_points
from tasks.evaluation.pictures.box_overlays import ShownBoxes, case_f1, write_box_overlays
from tasks.running.evaluator import EvalResult, Evaluator, piece_loader


class DetectionEvaluator(Evaluator[DetectionModel, DetectionData]):
    """Puts the boxes of each case together; every rank holds those of all afterwards."""

    def __init__(self) -> None:
        self.callback: BoxCollector = BoxCollector()

    def adopt(self, model: DetectionModel, data: DetectionData) -> None:
        """Give the data module preprocessing and classes of the model."""
        data.adopt(for_data(data, model.preprocess))
        data.adopt_classes(model.class_names)

    def run(
        self, trainer: Trainer, model: DetectionModel, data: DetectionData, split: str, *, choose: bool = False
    ) -> EvalResult:
        """Run the model over a part; ``choose`` leaves calibration and operating points in the model."""
        rows = data.rows(split)
        found: list[CaseBoxes] = []
        self.callback.start(
            found.append, overlap=model.overlap, nms_iou=model.decoding.nms_iou, max_detections=model.max_detections
        )
        trainer.predict(model, piece_loader(trainer, model, data, rows), return_predictions=False)
        own = join_boxes([box_rows(one, model.class_names) for one in found])
        tables = gather((own, scan_rows([one.scan for one in found])))
        predictions = join_boxes([boxes for boxes, _ in tables])
        scans = join([scans for _, scans in tables if len(scans)])
        cases, targets = data.table.cases.iloc[rows], data.true_boxes(rows)
        if choose:
            self.choose(model, predictions, cases, targets)
        predictions = self.called(model, predictions)
        predictions.insert(1, "split", split)
        targets.insert(1, "split", split)
        return EvalResult(predictions, scans, targets)

    def choose(
        self, model: DetectionModel, predictions: pd.DataFrame, cases: pd.DataFrame, targets: pd.DataFrame | None
    ) -> None:
        """Fit the calibration, and choose the lowest calibrated score of a call of each class."""
        assert targets is not None  # the truth of boxes always has a table of its own
        names, facts, method = model.class_names, self.own_facts(model), model.calibration_method
        model.calibration = tell(fit_on_frames("detect", names, facts, predictions, cases, targets, method))
        scored = calibrate_boxes(predictions, model.calibration)
        model.operating_points = detection_operating_points(
            cases, targets, scored, names, model.max_detections, model.operating_rule
        )

    def called(self, model: DetectionModel, predictions: pd.DataFrame) -> pd.DataFrame:
        """Calibrated predictions with ``prediction_op``: the label where a box is a call."""
        return call_boxes_at(calibrate_boxes(predictions, model.calibration), model.operating_points)

    def own_facts(self, model: DetectionModel) -> dict[str, Any]:
        """The limits of what counts as found."""
        return {
            "max_detections": model.max_detections,
            "froc_iou": model.froc_iou,
            "operating_point": model.operating_rule.text,
            "calibration": model.calibration_method,
            "calibrated_by": None if model.calibration is None else model.calibration.to_dict(),
            "score_threshold": model.decoding.score_threshold,
            "nms": model.decoding.nms,
            "nms_iou": model.decoding.nms_iou,
        }

    def pictures(
        self, result: EvalResult, split: str, model: DetectionModel, data: DetectionData, folder: Path
    ) -> list[tuple[str, NDArray[Any]]]:
        """Draw the best, median and worst case of the part (rank 0 alone)."""
        if result.targets is None or not is_rank_zero():
            return []
        targets, predictions, points = result.targets, result.predictions, model.operating_points
        rows = {str(case): row for row, case in enumerate(data.table.cases["case_id"])}

        def shown(case_id: str) -> ShownBoxes:
            scan = data.read(int(data.first_images(np.array([rows[case_id]]))[0]))
            image = picture(scan, data.preprocess)
            return ShownBoxes(image, *(table[table["case_id"] == case_id] for table in (targets, predictions)))

        f1 = case_f1([str(case) for case in result.scans["case_id"]], targets, predictions, points)
        drawn = write_box_overlays(folder, split, f1, shown, model.class_names, points)
        return [(picture.title, picture.picture) for picture in drawn]
