"""An exported classifier over cases: a row of scores and calls each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from datamodules.cases.table import CaseTable
from datamodules.classification.bag_images import BagImages, SeenImage
from datamodules.input_cases import InputCases
from datamodules.types import BagImage, ScanInfo
from scansuite.errors import SuiteError
from tasks.deployment.classified import (
    ClassificationPredictions,
    ClassifierFacts,
    finished_table,
    score_columns,
    weight_rows,
    weight_table,
)
from tasks.deployment.tables import UNCERTAINTY, join, with_paths
from tasks.exported.batches import Unreadable, ahead, piece_batches, predicted_batches
from tasks.exported.classification.classifier import Classifier, Scored
from tasks.exported.images import FloatArray, Runnable, image_batch
from tasks.exported.runner import Runner


@dataclass(frozen=True)
class ClassifiedCase:
    """A case with its scores.

    Attributes:
        scan: of the case.
        columns: of its row, scores as the model gives them.
        facts: by which they are calibrated and called.
        weights: rows of ``attention.csv``, where the images of the case are weighed.
    """

    scan: ScanInfo
    columns: Mapping[str, Any]
    facts: ClassifierFacts
    weights: Sequence[Mapping[str, Any]] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The row of the case, calibrated and called."""
        table = self.facts.called(pd.DataFrame([self.columns]))
        return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


class ClassificationRunner(Runner[ClassifiedCase]):
    """See :class:`~tasks.exported.runner.Runner`."""

    def __init__(self, model: Runnable, inputs: InputCases) -> None:
        super().__init__(model, inputs)
        about = self.about
        self.classifier = Classifier(model, inputs.batch_size)
        self.joined = about.aggregate != "none"
        self.facts = ClassifierFacts(
            self.classifier.target, about.class_names, about.positive_class, about.calibration, about.operating_points
        )

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file, a volume, or a group of them."""
        return self.inputs.table(paths, volumes=self.slices is not None, together=self.joined)

    def cases(self, table: CaseTable) -> Iterator[ClassifiedCase | Unreadable]:
        """Predict the cases; where each slice of a volume is judged for itself, a slice is a case."""
        if self.slices is not None or self.joined:
            yield from self._of_many(table)
            return
        source = self.inputs.source(table, self.preprocess)
        batches = piece_batches(source, self.preprocess, None, 0.0, self.inputs.batch_size)
        for one in predicted_batches(ahead(batches), self.classifier.images):
            if isinstance(one, Unreadable):
                yield one
            else:
                yield from self._told(one[0].scans, one[1])

    def _of_many(self, table: CaseTable) -> Iterator[ClassifiedCase | Unreadable]:
        bags = BagImages(
            self.inputs, table, self.preprocess, self.slices, joined=self.joined, limit=self.about.bag_limit or 0
        )
        for case, identity in enumerate(bags.scans):
            seen, unreadable = bags.read(case)
            yield from (Unreadable(*one) for one in unreadable)
            if not seen:
                continue
            try:
                images = image_batch([one.image for one in seen])
            except ValueError:
                yield Unreadable(identity["path"], "its images differ in size: export a model of one image size")
                continue
            try:
                told = self._of_case(images, seen, identity) if self.joined else self._of_slices(images, seen)
            except SuiteError as error:
                yield Unreadable(identity["path"], str(error))
                continue
            yield from told

    def _of_case(self, images: FloatArray, seen: Sequence[SeenImage], identity: ScanInfo) -> list[ClassifiedCase]:
        scan = cast("ScanInfo", {**seen[0].scan, **identity})
        scan.pop("slice", None)
        return list(self._told([scan], self.classifier.case(images), seen))

    def _of_slices(self, images: FloatArray, seen: Sequence[SeenImage]) -> list[ClassifiedCase]:
        size = self.inputs.batch_size
        told: list[ClassifiedCase] = []
        for start in range(0, len(images), size):
            some = slice(start, start + size)
            told += self._told([one.scan for one in seen[some]], self.classifier.images(images[some]))
        return told

    def _told(self, scans: list[ScanInfo], scored: Scored, seen: Sequence[SeenImage] = ()) -> Iterator[ClassifiedCase]:
        names = [scan["case_id"] for scan in scans]
        columns = score_columns(names, scored.scores, self.facts.target, self.facts.class_names)
        if scored.spread is not None:
            columns[UNCERTAINTY] = scored.spread.tolist()
        weights: list[dict[str, Any]] = []
        if scored.weights is not None:
            images = [BagImage(one.scan["path"], _slice(one.scan)) for one in seen]
            weights = weight_rows(names[0], images, scored.weights.tolist())
        for number, scan in enumerate(scans):
            yield ClassifiedCase(scan, {name: values[number] for name, values in columns.items()}, self.facts, weights)

    def output(self, table: CaseTable, folder: Path | None, options: Mapping[str, Any]) -> ScoreOutput:
        """Takes the rows of all cases."""
        return ScoreOutput(self.facts, folder)


class ScoreOutput:
    """Keeps the rows of all cases; see :class:`~tasks.exported.runner.Output`.

    Args:
        facts: of the model.
        folder: for ``attention.csv``; None: nothing is written.
    """

    def __init__(self, facts: ClassifierFacts, folder: Path | None) -> None:
        self.facts, self.folder = facts, folder
        self._rows: list[Mapping[str, Any]] = []
        self._weights: list[Mapping[str, Any]] = []
        self._paths: dict[str, str] = {}

    def add(self, case: ClassifiedCase) -> None:
        """Take a case."""
        self._rows.append(case.columns)
        self._weights += case.weights
        self._paths[case.scan["case_id"]] = case.scan["path"]

    def result(self, table: CaseTable, failed: Sequence[tuple[str, str]]) -> ClassificationPredictions:
        """The table, calibrated and called."""
        rows = join([pd.DataFrame(self._rows)] if self._rows else [])
        attention = weight_table(self._weights)
        predictions = finished_table(rows, self.facts, self._paths, attention, self.folder)
        cases = [str(case) for case in predictions["case_id"]]
        return ClassificationPredictions(with_paths(predictions, self._paths), cases, failed, self._paths, attention)


def _slice(scan: ScanInfo) -> int:
    index = scan.get("slice")
    return -1 if index is None else index
