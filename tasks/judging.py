"""What the command line asks of a task to judge it and to predict with it; each task's package answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import Callback, Trainer
from torch.utils.data import DataLoader

from datamodules.base import ScanDataModule
from datamodules.case_stream import TableCases, case_loader
from datamodules.inputs import InputFiles
from datamodules.table import CaseTable
from tasks.evaluation.figures import Figure


class Judged(NamedTuple):
    """The tables of one part, the same on every rank."""

    predictions: pd.DataFrame  # with column split
    scans: pd.DataFrame  # case_id,width,height,spacing
    targets: pd.DataFrame | None = None  # with column split, where the truth has a table of its own


class Judging(ABC):
    """From a trained model and a part of a data set to tables and figures.

    Attributes:
        callback: stands among the trainer's callbacks.
    """

    callback: Callback

    @abstractmethod
    def adopt(self, model: Any, data: Any) -> None:
        """Give the data module what the model was trained with: preprocessing and classes."""

    @abstractmethod
    def run(self, trainer: Trainer, model: Any, data: Any, split: str, *, choose: bool = False) -> Judged:
        """Run the model over a part.

        Args:
            trainer: with the callback.
            model: with its weights.
            data: the part's data module.
            split: ``val`` or ``test``.
            choose: choose on this part what is chosen on validation, and leave it in the model.
        """

    def choose(self, model: Any, predictions: pd.DataFrame, cases: pd.DataFrame, targets: pd.DataFrame | None) -> None:
        """Choose on tables the scores at which the model calls, and leave them in it; nothing where there are none.

        Args:
            model: whose ``operating_points`` are set.
            predictions: of cases that it, or each of its members, did not train on.
            cases: these cases.
            targets: the truth where it has a table of its own.
        """
        del model, predictions, cases, targets

    def called(self, model: Any, predictions: pd.DataFrame) -> pd.DataFrame:
        """The predictions with the columns that say what is called at the model's operating points."""
        del model
        return predictions

    @abstractmethod
    def figures(self, model: Any, run_dir: Path, split: str) -> dict[str, Figure]:
        """Judge the tables in a run folder, and write ``metrics.json`` (rank 0 alone)."""

    def pictures(
        self, judged: Judged, split: str, model: Any, data: Any, folder: Path
    ) -> list[tuple[str, NDArray[Any]]]:
        """Write pictures of telling cases into a folder; titles and (H, W, 3) uint8 of those that this rank drew."""
        return []


def judged_pieces(trainer: Trainer, model: Any, data: ScanDataModule, rows: NDArray[np.int64]) -> DataLoader[Any]:
    """This rank's cases of a part in pieces, for a model that sees images by windows.

    Args:
        trainer: that will run the model over them.
        model: with ``window`` and ``overlap``.
        data: the part's data module.
        rows: (N,) row numbers of the part's cases.
    """
    return case_loader(
        TableCases(data, rows),
        data.preprocess,
        batch_size=data.batch_size,
        window=model.window,
        overlap=model.overlap,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        num_workers=data.loader_workers,
        pin_memory=trainer.strategy.root_device.type == "cuda",
    )


class Predicting(ABC):
    """From a trained model and files to predictions.

    Args:
        model: with its weights.
        inputs: how files are read.
        output: folder for what is written.
        options: values of :attr:`flags`, None where left out.

    Attributes:
        flags: own flags of the task, and their meaning.
        callback: stands among the trainer's callbacks.
    """

    flags: ClassVar[dict[str, str]] = {}
    callback: Callback

    @abstractmethod
    def __init__(self, model: Any, inputs: InputFiles, output: Path, options: dict[str, str | None]) -> None: ...

    @abstractmethod
    def table(self, paths: Sequence[str]) -> CaseTable:
        """The cases found in files, folders or a table."""

    @abstractmethod
    def loader(self, table: CaseTable, rank: int, world_size: int) -> DataLoader[Any]:
        """This rank's batches."""

    @abstractmethod
    def finish(self) -> pd.DataFrame:
        """The predictions of all ranks as a table, ``case_id`` first, perhaps with ``path`` after it."""

    def predicted(self, table: CaseTable, predictions: pd.DataFrame, failed: Sequence[tuple[str, str]]) -> int:
        """How many cases of the table were predicted, where the files in ``failed`` could not be read."""
        return len(table) - len(failed)
