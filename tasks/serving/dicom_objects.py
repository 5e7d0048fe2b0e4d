"""Results of a request as DICOM objects: what is sent on to where results go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from datamodules.readers.limits import Limits
from tasks.deployment.dicom.result import Box, CaseResult, ModelFacts
from tasks.deployment.dicom.rows import scored
from tasks.deployment.dicom.writer import DicomWriter, kinds_of
from tasks.exported.description import Description
from tasks.serving.predicting import Predicted
from tasks.serving.refused import RefusedError


def write_objects(
    name: str, description: Description, predicted: Predicted, folder: Path, kinds: Sequence[str], limits: Limits
) -> int:
    """Write the objects of a request's results.

    Args:
        name: of the model.
        description: of it.
        predicted: its files' predictions; they are DICOM.
        folder: where to.
        kinds: of the objects; empty: a report, and of masks a segmentation.
        limits: of the readers.

    Returns:
        How many were written.

    Raises:
        RefusedError: none can be made.
        SuiteError: highdicom is missing, or a kind does not suit the task.
    """
    facts = ModelFacts(
        description.name or name,
        description.task,
        tuple(description.class_names),
        overlapping=description.overlapping,
        run=description.run,
        calibrated=description.calibration is not None,
    )
    usual = ("seg", "sr") if description.task == "segment" else ("sr",)
    writer = DicomWriter(facts, kinds_of(list(kinds or usual)))
    count = sum(len(writer.write(case, folder)) for case in _results(description, predicted, limits))
    if not count:
        raise RefusedError(422, writer.refused[0].reason if writer.refused else "there is nothing to send")
    return count


def _results(description: Description, predicted: Predicted, limits: Limits) -> Iterator[CaseResult]:
    for case, path in predicted.cases.items():
        rows = [row for row in predicted.rows if str(row["case_id"]) == case]
        if description.task == "segment":
            found = predicted.masks[case]
            yield CaseResult(case, Path(path), mask=found.mask, volume=found.grid is not None, limits=limits)
        elif description.task == "detect":
            calls = [row for row in rows if not description.operating_points or row.get("prediction_op")]
            boxes = [
                Box(str(row["label"]), float(row["score"]), (row["x1"], row["y1"], row["x2"], row["y2"]))
                for row in calls
            ]
            yield CaseResult(case, Path(path), boxes=boxes, limits=limits)
        else:
            volume = description.slices is not None
            for row in rows:
                more = scored(row, description.class_names)
                yield CaseResult(case, [Path(path)], volume=volume, limits=limits, **more)
