"""Inference of a segmentation model on files: a mask for each case on its own grid, and a table of sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from datamodules.cases.table import CaseTable
from datamodules.inputs import InputFiles
from datamodules.loading.case_source import CaseSource
from datamodules.readers.volume import Grid, is_series, may_be_volume, read_grid, slice_spacing
from datamodules.samples.picture import picture, thinned
from scansuite.errors import SuiteError, nearest
from tasks.deployment.mask_pictures import middle_found_slice, write_mask_picture
from tasks.deployment.masks import MaskFormat, MaskWriter, mask_rows
from tasks.distributed import gather
from tasks.registry.flag import Flag, OwnFlags
from tasks.running.inference import Inference
from tasks.running.predictions import Predictions
from tasks.running.recorder import UNCERTAINTY, join
from tasks.segment.assemble import AssembledCase
from tasks.segment.collect import CaseCollector
from tasks.segment.ensemble import SegmentationModel

_LONGEST = 2048  # px of a flat image that is drawn from all of its pixels


@dataclass(frozen=True, repr=False, eq=False)
class SegmentationPredictions(Predictions):
    """See :class:`~tasks.running.predictions.Predictions`.

    Attributes:
        masks: by case id, on the grid as stored: (H, W) or (X, Y, Z) class numbers; where regions overlap, (L, ...) of
            0 and 1 for each region.
        class_names: in the order of the numbers, background first; or the L regions.
    """

    masks: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()

    def found(self) -> str:
        """The classes that a row tells of."""
        told = set(self.table["class"]) if len(self.table) else set()
        return f", masks of {', '.join(name for name in self.class_names if name in told)}" if told else ""


class SegmentationInference(Inference[SegmentationModel]):
    """Writes the mask of a case as soon as its last piece has come; see :class:`~tasks.running.inference.Inference`."""

    flags: ClassVar[OwnFlags] = {
        "mask_format": Flag(
            "format of the masks: auto is nifti for volumes, png for flat images; png16 has a number for each object",
            MaskFormat | None,
            "auto",
        ),
        "pictures": Flag("draw the masks on each image, or on a slice of each volume", bool | None, True),
    }

    def __init__(
        self, model: SegmentationModel, inputs: InputFiles, output: Path | None, options: Mapping[str, Any]
    ) -> None:
        self.model, self.inputs = model, inputs
        mask_format = cast("MaskFormat", options["mask_format"] or "auto")
        if mask_format not in get_args(MaskFormat):
            raise SuiteError(f"--mask_format {mask_format}: {nearest(mask_format, get_args(MaskFormat))}")
        self.slices = model.slices
        self.overlays = output / "overlays" if self.draws(options) and output is not None else None
        self.preprocess = inputs.prepared(model.preprocess, self.slices)
        self.writer: MaskWriter | None = None
        if output is not None:
            self.writer = MaskWriter(output / "masks", model.class_names, model.overlapping, mask_format)
        self.callback: CaseCollector = CaseCollector()
        self.callback.start(model.overlapping, self._finished)
        self._rows: list[dict[str, Any]] = []
        self._masks: dict[str, NDArray[np.uint8]] = {}  # where they are not written
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

    def _finished(self, case: AssembledCase) -> None:
        model, case_id, path = self.model, case.scan["case_id"], Path(case.scan["path"])
        cut = self.slices is not None and (may_be_volume(path.name) or is_series(path))
        grid = read_grid(path, self.inputs.limits) if cut else None
        mask = case.planes[0] if grid is None or self.slices is None else self.slices.to_grid(case.planes, grid)
        spacing = case.scan.get("spacing")
        mask = model.cleanup(np.ascontiguousarray(mask), model.class_names, spacing, model.overlapping)
        if self.writer is not None:
            self.writer.write(case_id, mask, grid)
        else:
            self._masks[case_id] = mask
        if self.overlays is not None:
            self._draw(case, mask, grid, self.overlays)
        rows = mask_rows(case_id, mask, model.class_names, spacing, model.overlapping)
        unsure = case.uncertainty.tolist()
        self._rows += [{**row, UNCERTAINTY: own} for row, own in zip(rows, unsure, strict=True)]

    def _draw(self, case: AssembledCase, mask: NDArray[np.uint8], grid: Grid | None, folder: Path) -> None:
        """Draw the calls of a case, on the middle one of a volume's slices that show any."""
        assert self._source is not None  # the loader's
        images = self._source.images(case.case)
        planes, spacing = mask[None], case.scan.get("spacing")
        flat = None if spacing is None else (float(spacing[0]), float(spacing[1]))
        if grid is not None and self.slices is not None:
            planes = self.slices.to_planes(mask, grid)
            flat = slice_spacing(grid.affine, self.slices.plane)[1:]
        index = middle_found_slice(planes)
        note = f"slice {index + 1} of {len(planes)}" if len(planes) > 1 else ""
        scan, called = images[index], planes[index]
        step = max(called.shape[-2:]) // _LONGEST
        if step > 1 and grid is None:
            scan, called = thinned(scan, step), called[..., ::step, ::step]
        write_mask_picture(
            folder,
            case.scan["case_id"],
            picture(scan, self.preprocess),
            called,
            self.model.class_names,
            self.model.overlapping,
            flat,
            note,
        )

    def finish(self) -> pd.DataFrame:
        """Size of each class in each case, and how unsure the model was of it."""
        return join([pd.DataFrame(rows) for rows in gather(self._rows) if rows])

    def result(
        self, predictions: pd.DataFrame, cases: Sequence[str], failed: Sequence[tuple[str, str]]
    ) -> SegmentationPredictions:
        """Result with the masks."""
        return SegmentationPredictions(predictions, cases, failed, self._masks, tuple(self.model.class_names))
