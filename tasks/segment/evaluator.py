"""Evaluation of segmentation: whole cases on their original grid, with spacing."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import Trainer

from datamodules.samples.scaling import for_data
from datamodules.segmentation.base import SegmentationData
from datamodules.types import ScanInfo
from tasks.deployment.segmented import AssembledCase
from tasks.deployment.tables import UNCERTAINTY, join, scan_rows
from tasks.distributed import gather, is_rank_zero
from tasks.evaluation.gallery.store import CasePicture
from tasks.evaluation.gallery.thumbnails import mask_picture, scan_thumbnail, telling_slice
from tasks.evaluation.pictures.mask_overlays import Shown, most_telling_slice, pick_cases, write_overlays
from tasks.evaluation.segmentation.cleanup import CleanUpChoice
from tasks.evaluation.segmentation.metrics import case_rows
from tasks.running.evaluator import EvalResult, Evaluator, piece_loader
from tasks.segment.collect import CaseCollector
from tasks.segment.ensemble import SegmentationModel


class _Called(NamedTuple):
    """A predicted mask on the original grid, packed: a class number a voxel, long runs of which are alike."""

    row: int  # of the data's table
    scan: ScanInfo
    shape: tuple[int, ...]
    packed: bytes
    uncertainty: NDArray[np.float64]  # of each class but the background, or each region

    def mask(self) -> NDArray[np.uint8]:
        """The mask before clean-up."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)


class SegmentationEvaluator(Evaluator[SegmentationModel, SegmentationData]):
    """Puts the predicted pieces of each case together and compares them with its true mask."""

    def __init__(self) -> None:
        self.callback: CaseCollector = CaseCollector()
        self._called: dict[str, _Called] = {}  # of the part that was run last, this rank's share

    def adopt(self, model: SegmentationModel, data: SegmentationData) -> None:
        """Give the data module preprocessing, slices and classes of the model."""
        data.adopt(for_data(data, model.preprocess, model.slices))
        data.adopt_classes(model.class_names, overlapping=model.overlapping)
        if model.slices is not None:
            data.slices = model.slices

    def run(
        self,
        trainer: Trainer,
        model: SegmentationModel,
        data: SegmentationData,
        split: str,
        *,
        choose: bool = False,
    ) -> EvalResult:
        """Run the model over a part; ``choose`` leaves the clean-up in ``model.cleanup`` where it is to be chosen."""
        rows = data.rows(split)
        choose = choose and model.chooses_cleanup
        choice = CleanUpChoice(model.class_names, overlapping=model.overlapping, ignore_index=data.ignore_index)
        self._called = {}

        def finished(case: AssembledCase) -> None:
            row = int(rows[case.case])
            mask = np.ascontiguousarray(data.to_grid(row, case.planes))
            if choose:
                choice.add(data.true_mask(row), mask, case.scan.get("spacing"))
            packed = zlib.compress(mask.tobytes(), 1)
            self._called[case.scan["case_id"]] = _Called(row, case.scan, mask.shape, packed, case.uncertainty)

        self.callback.start(model.overlapping, finished)
        trainer.predict(model, piece_loader(trainer, model, data, rows), return_predictions=False)
        if choose:
            own, *others = gather(choice)
            own.merge(others)
            model.cleanup = own.choose()
        own_rows = [row for called in self._called.values() for row in self._rows(called, model, data)]
        scans = scan_rows([called.scan for called in self._called.values()])
        tables = gather((pd.DataFrame(own_rows), scans))
        predictions = join([table for table, _ in tables if len(table)])
        predictions.insert(1, "split", split)
        return EvalResult(predictions, join([table for _, table in tables if len(table)]))

    def _rows(self, called: _Called, model: SegmentationModel, data: SegmentationData) -> list[dict[str, Any]]:
        spacing = called.scan.get("spacing")
        rows = case_rows(
            called.scan["case_id"],
            data.true_mask(called.row),
            _cleaned(called, model),
            model.class_names,
            spacing,
            tolerance_mm=model.nsd_tolerance,
            ignore_index=data.ignore_index,
            lesions=model.count_lesions,
            overlapping=model.overlapping,
        )
        return [{**row, UNCERTAINTY: own} for row, own in zip(rows, called.uncertainty.tolist(), strict=True)]

    def own_facts(self, model: SegmentationModel) -> dict[str, Any]:
        """Whether regions overlap, the clean-up, and how surfaces and lesions are compared."""
        return {
            "overlapping": model.overlapping,
            "cleanup": model.cleanup.to_dict(),
            "nsd_tolerance": model.nsd_tolerance,
            "count_lesions": model.count_lesions,
        }

    def pictures(
        self, result: EvalResult, split: str, model: SegmentationModel, data: SegmentationData, folder: Path
    ) -> list[tuple[str, NDArray[Any]]]:
        """Draw the best, median and worst case of the part; all ranks must ask, rank 0 draws."""
        predictions = result.predictions
        chosen = pick_cases(predictions).values()
        called = {case: one for own in gather(self._of(chosen)) for case, one in own.items()}
        if is_rank_zero():
            names, overlapping = model.class_names, model.overlapping
            drawn = write_overlays(
                folder, split, predictions, lambda case: _shown(called[case], model, data), names, overlapping
            )
            return [(picture.title, picture.picture) for picture in drawn]
        return []

    def holds(self, case_id: str, place: int) -> bool:
        """Whether this rank has the predicted mask of a case."""
        return case_id in self._called

    def case_picture(
        self, case_id: str, row: int, model: SegmentationModel, data: SegmentationData, *, errors: bool
    ) -> CasePicture:
        """A case with its true and predicted mask; of a volume the slice that shows most of the truth, or of errors."""
        called = self._called[case_id]
        truth, mask = _planes(called, model, data)
        index = telling_slice(truth, mask, errors=errors)
        note = f"slice {index + 1} of {len(truth)}" if len(truth) > 1 else ""
        scan = data.read(int(data.table.images_by_case[row][index]))
        thumbnail = scan_thumbnail(scan, data.preprocess, data.pixel_spacing(row, called.scan))
        classes = len(model.class_names) - (not model.overlapping)
        true, found = (
            mask_picture(one[index], classes, thumbnail.size, overlapping=model.overlapping) for one in (truth, mask)
        )
        height, width = truth.shape[-2:]
        return CasePicture(case_id, thumbnail, (height, width), true, found, note=note)

    def _of(self, cases: Iterable[str]) -> dict[str, _Called]:
        return {case: self._called[case] for case in cases if case in self._called}


def _shown(called: _Called, model: SegmentationModel, data: SegmentationData) -> Shown:
    """A case as it is drawn: the slice of a volume that shows most."""
    truth, mask = _planes(called, model, data)
    # Slices before regions here, after them there.
    index = most_telling_slice(*(np.moveaxis(one, 0, -3) for one in (truth, mask)))
    note = f"slice {index + 1} of {len(truth)}" if len(truth) > 1 else ""
    return Shown(
        data.picture(called.row, index), truth[index], mask[index], note, data.pixel_spacing(called.row, called.scan)
    )


def _planes(
    called: _Called, model: SegmentationModel, data: SegmentationData
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """True and predicted mask of a case, (S, H, W) or (S, L, H, W)."""
    truth, mask = (data.to_planes(called.row, whole) for whole in (data.true_mask(called.row), _cleaned(called, model)))
    return truth, mask


def _cleaned(called: _Called, model: SegmentationModel) -> NDArray[np.uint8]:
    return model.cleanup(called.mask(), model.class_names, called.scan.get("spacing"), model.overlapping)
