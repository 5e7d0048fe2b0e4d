"""Evaluator: what the command line asks of a task, from a trained model and a part of a data set to tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import Callback, Trainer
from torch.utils.data import DataLoader

from datamodules.base import ScanDataModule
from datamodules.loading.case_source import TableCases
from datamodules.loading.case_stream import CaseStream, case_loader
from datamodules.types import Scan
from tasks.distributed import count_ranks, rank_of
from tasks.evaluation.gallery.store import CasePicture
from tasks.evaluation.gallery.thumbnails import scan_thumbnail
from tasks.evaluation.task_file import RunTask
from tasks.predictor import Predictor, Tiled

ModelT = TypeVar("ModelT", bound=Predictor)
DataT = TypeVar("DataT", bound=ScanDataModule)


class EvalResult(NamedTuple):
    """The tables of one part, the same on every rank."""

    predictions: pd.DataFrame  # with column split
    scans: pd.DataFrame  # case_id,width,height,spacing
    targets: pd.DataFrame | None = None  # with column split, where the truth has a table of its own


class Evaluator(ABC, Generic[ModelT, DataT]):
    """Evaluator of a trained model: from it and a part of a data set to tables.

    Attributes:
        callback: stands among the trainer's callbacks.
    """

    callback: Callback

    @abstractmethod
    def adopt(self, model: ModelT, data: DataT) -> None:
        """Give the data module what the model was trained with: preprocessing and classes."""

    @abstractmethod
    def run(self, trainer: Trainer, model: ModelT, data: DataT, split: str, *, choose: bool = False) -> EvalResult:
        """Run the model over a part.

        Args:
            trainer: with the callback.
            model: with its weights.
            data: the part's data module.
            split: ``val`` or ``test``.
            choose: choose on this part what is chosen on validation, and leave it in the model.
        """

    def choose(
        self, model: ModelT, predictions: pd.DataFrame, cases: pd.DataFrame, targets: pd.DataFrame | None
    ) -> None:
        """Choose on tables the scores at which the model calls, and leave them in it; nothing where there are none.

        Args:
            model: whose ``operating_points`` are set.
            predictions: of cases that it, or each of its members, did not train on.
            cases: these cases.
            targets: the truth where it has a table of its own.
        """
        del model, predictions, cases, targets

    def called(self, model: ModelT, predictions: pd.DataFrame) -> pd.DataFrame:
        """The predictions with the columns that say what is called at the model's operating points."""
        del model
        return predictions

    @abstractmethod
    def own_facts(self, model: ModelT) -> dict[str, Any]:
        """Facts of the task for ``task.json``, in plain types: all that metrics of the tables depend on, and more."""

    def run_task(self, model: ModelT) -> RunTask:
        """Contents of ``task.json`` for a run: the task, its classes, what was chosen, how images are prepared."""
        prepared: dict[str, Any] = {
            "preprocess": model.preprocess.to_dict(),
            "slices": None if model.slices is None else model.slices.to_dict(),
            "input_size": None if model.input_size is None else list(model.input_size),
            "tile": None if model.tile is None else list(model.tile),
            "overlap": model.overlap,
        }
        return RunTask(
            model.name, list(model.class_names), dict(model.operating_points), self.own_facts(model) | prepared
        )

    def pictures(
        self, result: EvalResult, split: str, model: ModelT, data: DataT, folder: Path
    ) -> list[tuple[str, NDArray[Any]]]:
        """Write pictures of telling cases into a folder; titles and (H, W, 3) uint8 of those that this rank drew."""
        return []

    def holds(self, case_id: str, place: int) -> bool:
        """Whether this rank makes the picture of a case.

        Args:
            case_id: of the case.
            place: among those of which there are pictures.
        """
        del case_id
        return place % count_ranks() == rank_of()

    def pixel_spacing(self, scan: Scan, data: DataT) -> tuple[float, float] | None:
        """Mm per row and column of an image as it was read, where that is known."""
        del data
        spacing = scan.info.get("spacing")
        return (spacing[0], spacing[1]) if spacing is not None and len(spacing) == 2 else None

    def case_picture(self, case_id: str, row: int, model: ModelT, data: DataT, *, errors: bool) -> CasePicture:
        """A case of the part that was run last, for the gallery of its run; of several images the middle one.

        Args:
            case_id: of a case that this rank :meth:`holds`.
            row: of the data's table.
            model: that was run.
            data: the part's data module.
            errors: what is shown of a case of several images is where it went wrong, as far as that is known.

        Raises:
            SuiteError: the case cannot be read.
        """
        del errors
        images = data.table.images_by_case[row]
        number = len(images) // 2
        scan = data.read(int(images[number]))
        note = f"image {number + 1} of {len(images)}" if len(images) > 1 else ""
        size = scan.info.get("original_size", scan.array.shape[:2])
        made = CasePicture(
            case_id,
            scan_thumbnail(scan, data.preprocess, self.pixel_spacing(scan, data)),
            (size[0], size[1]),
            note=note,
        )
        return made if len(images) > 1 else self.mapped(made, scan, model, data)

    def mapped(self, picture: CasePicture, scan: Scan, model: ModelT, data: DataT) -> CasePicture:
        """The picture of a case of one image, with a map of what the model looks at where the task has one.

        Args:
            picture: of the case.
            scan: that it shows.
            model: that was run.
            data: the part's data module.
        """
        del scan, model, data
        return picture


def piece_loader(trainer: Trainer, model: Tiled, data: ScanDataModule, rows: NDArray[np.int64]) -> DataLoader[Any]:
    """Loader of this rank's cases of a part in pieces, for a model that sees images by tiles.

    Args:
        trainer: that will run the model over them.
        model: that sees them.
        data: the part's data module.
        rows: (N,) row numbers of the part's cases.
    """
    stream = CaseStream(
        TableCases(data, rows),
        data.preprocess,
        data.batch_size,
        model.tile,
        model.overlap,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
    )
    device = trainer.strategy.root_device
    return case_loader(stream, num_workers=data.loader_workers, device=device if device.type == "cuda" else None)
