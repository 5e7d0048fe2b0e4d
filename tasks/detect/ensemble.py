"""Ensemble of detectors: their boxes are fused, case by case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from tasks.detect.interface import Detections
from tasks.detect.task import DetectionTask
from tasks.ensemble import Ensemble
from tasks.predictor import StepOutput


class DetectionEnsemble(Ensemble[DetectionTask]):
    """Hands on what each member found; :class:`~tasks.detect.collect.BoxCollector` fuses the boxes of a whole case.

    See :class:`~tasks.ensemble.Ensemble`.

    Attributes:
        tile: see :class:`~tasks.detect.task.DetectionTask`.
        overlap: likewise.
        decoding: of the first member; each decodes by its own.
        max_detections: boxes of a case that are kept: the largest number of a member.
        operating_rule: by which the ensemble's own operating points are chosen: the first member's.
    """

    def __init__(self, members: Sequence[DetectionTask], names: Sequence[str]) -> None:
        super().__init__(members, names)
        self.operating_rule = members[0].operating_rule
        first = members[0]
        self.decoding, self.froc_iou = first.decoding, first.froc_iou
        self.max_detections = max(member.max_detections for member in members)

    def shared(self, member: DetectionTask) -> dict[str, Any]:
        """Classes, how large images are cut, and how cases are evaluated."""
        return {
            "classes": member.class_names,
            "--model.window": member.tile,
            "--model.overlap": member.overlap if member.tile is not None else None,
            "--model.nms_iou": member.decoding.nms_iou if member.tile is not None else None,
            "--model.froc_iou": member.froc_iou,
        }

    def combined(self, said: Iterator[StepOutput[list[Detections]]]) -> StepOutput[list[list[Detections]]]:
        """Boxes of each image by member, as ``output``: a list of lists."""
        found = list(said)
        return {"output": [list(each) for each in zip(*(one["output"] for one in found), strict=True)],
                "batch": found[0]["batch"]}  # fmt: skip


DetectionModel: TypeAlias = DetectionTask | DetectionEnsemble
