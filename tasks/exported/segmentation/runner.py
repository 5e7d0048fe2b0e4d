"""An exported segmentation model over cases: a mask each, on the grid as stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from datamodules.cases.table import CaseTable
from datamodules.input_cases import InputCases
from datamodules.loading.case_source import CaseSource
from tasks.deployment.flags import SEGMENT_FLAGS
from tasks.deployment.segmented import (
    MaskOutput,
    SegmentationPredictions,
    SegmentedCase,
    SegmenterFacts,
    on_grid,
)
from tasks.deployment.tables import join, with_paths
from tasks.evaluation.segmentation.cleanup import CleanUp
from tasks.exported.batches import Unreadable, ahead, piece_batches, predicted_batches
from tasks.exported.images import Runnable
from tasks.exported.runner import Runner, paths_of, predicted
from tasks.exported.segmentation.maps import MapAssembly
from tasks.exported.segmentation.segmenter import Segmenter
from tasks.registry.flag import OwnFlags


class SegmentationRunner(Runner[SegmentedCase]):
    """See :class:`~tasks.exported.runner.Runner`."""

    flags: ClassVar[OwnFlags] = SEGMENT_FLAGS

    def __init__(self, model: Runnable, inputs: InputCases) -> None:
        super().__init__(model, inputs)
        about = self.about
        self.segmenter = Segmenter(model)
        cleanup = CleanUp.from_dict(about.cleanup)
        self.facts = SegmenterFacts(about.class_names, about.overlapping, cleanup, self.slices, self.preprocess)

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file or a volume."""
        if self.slices is None:
            return self.inputs.table(paths)
        return self.inputs.table(paths, volumes=True, sequences=self.slices.sequences(self.preprocess))

    def source(self, table: CaseTable) -> CaseSource:
        """The cases, to be read one by one."""
        return self.inputs.source(table, self.preprocess, self.slices)

    def cases(self, table: CaseTable) -> Iterator[SegmentedCase | Unreadable]:
        """Predict the cases."""
        about, assembly = self.about, MapAssembly(self.about.overlapping)
        source = self.source(table)
        batches = piece_batches(source, self.preprocess, about.tile, about.overlap, self.inputs.batch_size)
        for one in predicted_batches(ahead(batches), self.segmenter.probabilities):
            if isinstance(one, Unreadable):
                assembly.drop(one.path)  # what has come of it before it broke off
                yield one
                continue
            batch, probabilities = one
            for case in assembly.add(probabilities, batch.pieces, batch.scans):
                yield on_grid(case, self.facts, self.inputs.limits)

    def output(self, table: CaseTable, folder: Path | None, options: Mapping[str, Any]) -> SegmentationOutput:
        """Writes the mask of each case."""
        return SegmentationOutput(MaskOutput(self.facts, folder, options), self.source(table))


class SegmentationOutput:
    """Writes masks and their pictures; see :class:`~tasks.exported.runner.Output`.

    Args:
        masks: that writes them.
        source: of the cases, for their pictures.
    """

    def __init__(self, masks: MaskOutput, source: CaseSource) -> None:
        self.masks, self.source = masks, source

    def add(self, case: SegmentedCase) -> None:
        """Write a case."""
        self.masks.add(case, self.source.images(case.case) if self.masks.overlays is not None else None)

    def result(self, table: CaseTable, failed: Sequence[tuple[str, str]]) -> SegmentationPredictions:
        """Size of each class in each case, and the masks where they are not written."""
        rows = join([pd.DataFrame(self.masks.rows)] if self.masks.rows else [])
        paths = paths_of(table)
        names = tuple(self.masks.facts.class_names)
        cases = predicted(table, failed)
        return SegmentationPredictions(with_paths(rows, paths), cases, failed, paths, self.masks.masks, names)
