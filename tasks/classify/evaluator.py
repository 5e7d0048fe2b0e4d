"""Evaluation of classification: scores by case, calibrated and called by what was chosen on validation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
from pytorch_lightning import Trainer

from datamodules.classification.base import ClassificationData
from datamodules.readers.volume import slice_spacing
from datamodules.samples.scaling import for_data
from datamodules.types import Scan
from tasks.classify.ensemble import ClassificationModel
from tasks.deployment.classified import ClassifierFacts
from tasks.evaluation.calibration.applying import calibrate_cases
from tasks.evaluation.calibration.tables import fit_on_frames, tell
from tasks.evaluation.classification.operating_point import operating_points
from tasks.evaluation.gallery.store import CasePicture
from tasks.evaluation.gallery.thumbnails import heat_layer
from tasks.explain.gallery_map import CaseMaps
from tasks.running.evaluator import EvalResult, Evaluator
from tasks.running.recorder import Recorder


class ClassificationEvaluator(Evaluator[ClassificationModel, ClassificationData]):
    """Collects the scores of each case; every rank holds the rows of all afterwards."""

    def __init__(self) -> None:
        self.callback: Recorder = Recorder()
        self._maps = CaseMaps()

    def adopt(self, model: ClassificationModel, data: ClassificationData) -> None:
        """Give the data module preprocessing, kind of target, classes and positive class of the model."""
        data.adopt(for_data(data, model.preprocess, model.slices))
        data.adopt_bags(bags=model.aggregate != "none", limit=model.bag_limit, slices=model.slices)
        data.adopt_classes(model.target, model.class_names, model.positive_class)

    def run(
        self,
        trainer: Trainer,
        model: ClassificationModel,
        data: ClassificationData,
        split: str,
        *,
        choose: bool = False,
    ) -> EvalResult:
        """Run the model over a part; ``choose`` leaves calibration and operating points in the model."""
        self._maps = CaseMaps()
        predictions, scans = self.callback.run(trainer, model, data, split)
        if choose:
            self.choose(model, predictions, data.table.cases)
        return EvalResult(self.called(model, predictions), scans)

    def choose(
        self,
        model: ClassificationModel,
        predictions: pd.DataFrame,
        cases: pd.DataFrame | None = None,
        targets: pd.DataFrame | None = None,
    ) -> None:
        """Fit the calibration, and on its scores choose the operating points of a binary or multilabel target."""
        facts = self.own_facts(model)
        names, method = model.class_names, model.calibration_method
        model.calibration = tell(fit_on_frames("classify", names, facts, predictions, cases, None, method))
        scores = calibrated(model, predictions)
        model.operating_points = operating_points(scores, **target_facts(model), rule=model.operating_rule)

    def called(self, model: ClassificationModel, predictions: pd.DataFrame) -> pd.DataFrame:
        """Calibrated predictions with ``prediction_op``, or ``prediction_op_<label>``."""
        return facts_of(model).called(predictions)

    def pixel_spacing(self, scan: Scan, data: ClassificationData) -> tuple[float, float] | None:
        """Mm per row and column; of slices of a volume in their plane."""
        affine, slices = scan.info.get("affine"), data.slices
        if affine is not None and slices is not None and scan.info.get("slice") is not None:
            row, column = slice_spacing(affine, slices.plane)[1:]
            return row, column
        return super().pixel_spacing(scan, data)

    def mapped(
        self, picture: CasePicture, scan: Scan, model: ClassificationModel, data: ClassificationData
    ) -> CasePicture:
        """With the Grad-CAM of the call, where images are evaluated by themselves."""
        found = self._maps.of(model, scan, data.preprocess) if model.aggregate == "none" else None
        if found is None:
            return picture
        return replace(picture, map=heat_layer(found.values, picture.scan.size), map_of=found.target)

    def own_facts(self, model: ClassificationModel) -> dict[str, Any]:
        """Kind of target, positive class, and what is a case."""
        return {
            "target": model.target,
            "positive_class": model.positive_class,
            "operating_point": model.operating_rule.text,
            "calibration": model.calibration_method,
            "calibrated_by": None if model.calibration is None else model.calibration.to_dict(),
            "aggregate": model.aggregate,
            "bag_limit": model.bag_limit,
        }


def calibrated(model: ClassificationModel, predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions with the scores of the model's calibration, and the raw ones beside them."""
    return calibrate_cases(predictions, model.calibration, model.target, model.class_names)


def facts_of(model: ClassificationModel) -> ClassifierFacts:
    """What turns the model's scores into calls."""
    return ClassifierFacts(
        model.target, model.class_names, model.positive_class, model.calibration, model.operating_points
    )


def target_facts(model: ClassificationModel) -> dict[str, Any]:
    """Facts about the target that the evaluation of a table needs."""
    return {"kind": model.target, "class_names": model.class_names, "positive_class": model.positive_class}
