"""What the command line asks of a task to evaluate it: from a trained model and a part of a data set to tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import Callback, Trainer
from torch.utils.data import DataLoader

from datamodules.base import ScanDataModule
from datamodules.loading.case_stream import TableCases, case_loader
from tasks.evaluation.metric_values import MetricValue


class EvalResult(NamedTuple):
    """The tables of one part, the same on every rank."""

    predictions: pd.DataFrame  # with column split
    scans: pd.DataFrame  # case_id,width,height,spacing
    targets: pd.DataFrame | None = None  # with column split, where the truth has a table of its own


class Evaluator(ABC):
    """From a trained model and a part of a data set to tables and figures.

    Attributes:
        callback: stands among the trainer's callbacks.
    """

    callback: Callback

    @abstractmethod
    def adopt(self, model: Any, data: Any) -> None:
        """Give the data module what the model was trained with: preprocessing and classes."""

    @abstractmethod
    def run(self, trainer: Trainer, model: Any, data: Any, split: str, *, choose: bool = False) -> EvalResult:
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
    def figures(self, model: Any, run_dir: Path, split: str) -> dict[str, MetricValue]:
        """Judge the tables in a run folder, and write ``metrics.json`` (rank 0 alone)."""

    def pictures(
        self, judged: EvalResult, split: str, model: Any, data: Any, folder: Path
    ) -> list[tuple[str, NDArray[Any]]]:
        """Write pictures of telling cases into a folder; titles and (H, W, 3) uint8 of those that this rank drew."""
        return []


def piece_loader(trainer: Trainer, model: Any, data: ScanDataModule, rows: NDArray[np.int64]) -> DataLoader[Any]:
    """This rank's cases of a part in pieces, for a model that sees images by tiles.

    Args:
        trainer: that will run the model over them.
        model: with ``tile`` and ``overlap``.
        data: the part's data module.
        rows: (N,) row numbers of the part's cases.
    """
    return case_loader(
        TableCases(data, rows),
        data.preprocess,
        batch_size=data.batch_size,
        tile=model.tile,
        overlap=model.overlap,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        num_workers=data.loader_workers,
        pin_memory=trainer.strategy.root_device.type == "cuda",
    )
