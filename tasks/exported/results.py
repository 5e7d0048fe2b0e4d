"""Finished cases of an exported model as results that are written as DICOM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.readers.limits import Limits
from scansuite.errors import SuiteError
from tasks.deployment.dicom.result import ModelFacts

if TYPE_CHECKING:
    from tasks.deployment.dicom.result import CaseResult
    from tasks.exported.description import Description
    from tasks.exported.predict import Finished


def facts_of(description: Description) -> ModelFacts:
    """What DICOM objects say of an exported model.

    Raises:
        SuiteError: its results are of slices, not of cases.
    """
    if description.task == "classify" and description.slices is not None and description.aggregate == "none":
        raise SuiteError("--dicom: the model scores each slice of a volume for itself, and a result is of a case")
    return ModelFacts(
        name=description.name or "model",
        task=description.task,
        class_names=description.class_names,
        overlapping=description.overlapping,
        run=description.run,
        version=description.suite,
        calibrated=description.calibration is not None,
    )


def case_result(case: Finished, files: Mapping[str, Sequence[Path]], limits: Limits, *, volumes: bool) -> CaseResult:
    """Result of a finished case.

    Args:
        case: of :func:`tasks.exported.predict.predict_cases`.
        files: of each case (:func:`tasks.deployment.case_results.files_of`).
        limits: on the size of images.
        volumes: the model cuts volumes.
    """
    from tasks.deployment.case_results import boxes_result, row_results
    from tasks.deployment.segmented import SegmentedCase
    from tasks.exported.detection.runner import DetectedCase

    if isinstance(case, SegmentedCase):
        return case.result()
    if isinstance(case, DetectedCase):
        from tasks.evaluation.detection.called_boxes import called

        rows = case.facts.rows(case.found)
        return boxes_result(case.scan, called(rows, case.facts.operating_points), limits)
    (result,) = row_results(case.rows, files, case.facts.class_names, limits, volumes=volumes)
    return result
