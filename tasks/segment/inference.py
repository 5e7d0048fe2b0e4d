"""Inference of a segmentation model on files: a mask for each case on its own grid, and a table of sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from torch.utils.data import DataLoader

from datamodules.cases.table import CaseTable
from datamodules.inputs import InputFiles
from datamodules.loading.case_source import CaseSource
from tasks.deployment.case_results import Sink
from tasks.deployment.flags import SEGMENT_FLAGS
from tasks.deployment.segmented import (
    AssembledCase,
    MaskOutput,
    SegmentationPredictions,
    SegmenterFacts,
    on_grid,
)
from tasks.deployment.tables import join
from tasks.distributed import gather
from tasks.registry.flag import OwnFlags
from tasks.running.inference import Inference
from tasks.segment.collect import CaseCollector
from tasks.segment.ensemble import SegmentationModel


class SegmentationInference(Inference[SegmentationModel]):
    """Writes the mask of a case as soon as its last piece has come; see :class:`~tasks.running.inference.Inference`."""

    flags: ClassVar[OwnFlags] = SEGMENT_FLAGS

    def __init__(
        self, model: SegmentationModel, inputs: InputFiles, output: Path | None, options: Mapping[str, Any]
    ) -> None:
        self.model, self.inputs = model, inputs
        self.slices = model.slices
        self.preprocess = inputs.prepared(model.preprocess, self.slices)
        self.facts = SegmenterFacts(model.class_names, model.overlapping, model.cleanup, model.slices, self.preprocess)
        self.output = MaskOutput(self.facts, output, options)
        self.callback: CaseCollector = CaseCollector()
        self.callback.start(model.overlapping, self._finished)
        self._source: CaseSource | None = None

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file or a volume."""
        if self.slices is None:
            return self.inputs.table(paths)
        return self.inputs.table(paths, volumes=True, sequences=self.slices.sequences(self.preprocess))

    def loader(self, table: CaseTable, rank: int, world_size: int) -> DataLoader[Any]:
        """Batches of pieces of cases."""
        source = self._source = self.inputs.source(table, self.preprocess, self.slices)
        model = self.model
        return self.inputs.pieces(source, self.preprocess, model.tile, model.overlap, rank, world_size)

    def send_to(self, sink: Sink) -> None:
        """See :meth:`~tasks.running.inference.Inference.send_to`."""
        self.output.sink = sink

    def _finished(self, case: AssembledCase) -> None:
        assert self._source is not None  # the loader's
        images = self._source.images(case.case) if self.output.overlays is not None else None
        self.output.add(on_grid(case, self.facts, self.inputs.limits), images)

    def finish(self) -> pd.DataFrame:
        """Size of each class in each case, and how unsure the model was of it."""
        return join([pd.DataFrame(rows) for rows in gather(self.output.rows) if rows])

    def result(
        self, predictions: pd.DataFrame, cases: Sequence[str], failed: Sequence[tuple[str, str]]
    ) -> SegmentationPredictions:
        """Result with the masks."""
        return SegmentationPredictions(
            predictions, cases, failed, masks=self.output.masks, class_names=tuple(self.model.class_names)
        )
