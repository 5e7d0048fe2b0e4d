"""An exported detector over cases: boxes in pixels as stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from datamodules.cases.table import CaseTable
from datamodules.input_cases import InputCases
from datamodules.types import ScanInfo
from tasks.deployment.detected import BoxOutput, CaseBoxes, DetectionPredictions, DetectorFacts
from tasks.deployment.flags import DETECT_FLAGS
from tasks.deployment.tables import with_paths
from tasks.exported.batches import Unreadable, ahead, piece_batches, predicted_batches
from tasks.exported.detection.detector import Detector
from tasks.exported.detection.tiles import TileBoxes
from tasks.exported.images import Runnable
from tasks.exported.runner import Runner, paths_of, predicted
from tasks.registry.flag import OwnFlags


@dataclass(frozen=True)
class DetectedCase:
    """A case with its boxes.

    Attributes:
        found: boxes in pixels of the image as stored, with the scores that the model gave them.
        facts: by which they are calibrated and called.
    """

    found: CaseBoxes
    facts: DetectorFacts

    @property
    def scan(self) -> ScanInfo:
        """Identity and geometry of the case."""
        return self.found.scan

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each box, highest score first."""
        rows = self.facts.rows(self.found).to_dict("records")
        return [{str(name): value for name, value in row.items()} for row in rows]


class DetectionRunner(Runner[DetectedCase]):
    """See :class:`~tasks.exported.runner.Runner`."""

    flags: ClassVar[OwnFlags] = DETECT_FLAGS

    def __init__(self, model: Runnable, inputs: InputCases) -> None:
        super().__init__(model, inputs)
        about = self.about
        self.detector = Detector(model)
        self.facts = DetectorFacts(about.class_names, self.preprocess, about.calibration, about.operating_points)

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file."""
        return self.inputs.table(paths)

    def cases(self, table: CaseTable) -> Iterator[DetectedCase | Unreadable]:
        """Predict the cases."""
        about, settings = self.about, self.detector.settings
        most = max(one.max_detections for one in settings)
        tiles = TileBoxes(about.overlap, settings[0].nms_iou, most)
        source = self.inputs.source(table, self.preprocess)
        batches = piece_batches(source, self.preprocess, about.tile, about.overlap, self.inputs.batch_size)
        for one in predicted_batches(ahead(batches), self.detector.found):
            if isinstance(one, Unreadable):
                tiles.drop(one.path)
                yield one
                continue
            batch, found = one
            tile = (batch.images.shape[2], batch.images.shape[3])
            for case in tiles.add(found, batch.pieces, batch.scans, tile):
                yield DetectedCase(case, self.facts)

    def output(self, table: CaseTable, folder: Path | None, options: Mapping[str, Any]) -> DetectionOutput:
        """Keeps the boxes of each case, and draws them."""
        return DetectionOutput(BoxOutput(self.facts, self.inputs.limits, folder, options))


class DetectionOutput:
    """Keeps boxes, and writes them; see :class:`~tasks.exported.runner.Output`.

    Args:
        boxes: that does so.
    """

    def __init__(self, boxes: BoxOutput) -> None:
        self.boxes = boxes

    def add(self, case: DetectedCase) -> None:
        """Take a case."""
        self.boxes.add(case.found)

    def result(self, table: CaseTable, failed: Sequence[tuple[str, str]]) -> DetectionPredictions:
        """The boxes of all cases."""
        rows = self.boxes.finish(self.boxes.boxes, self.boxes.scans)
        paths = paths_of(table)
        return DetectionPredictions(with_paths(rows, paths), predicted(table, failed), failed, paths)
