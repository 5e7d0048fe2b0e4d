"""Inference: what the verb ``predict`` asks of a task, from a trained model and files to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pandas as pd
from pytorch_lightning import Callback
from torch.utils.data import DataLoader

from datamodules.cases.table import CaseTable
from datamodules.inputs import InputFiles
from scansuite.errors import SuiteError
from tasks.deployment.case_results import Sink
from tasks.deployment.predictions import Predictions
from tasks.predictor import Predictor
from tasks.registry.flag import OwnFlags

ModelT = TypeVar("ModelT", bound=Predictor)


class Inference(ABC, Generic[ModelT]):
    """Inference of a trained model on files.

    Args:
        model: with its weights.
        inputs: how files are read.
        output: folder for what is written; None: nothing is written, and :meth:`result` has it all.
        options: values of :attr:`flags`, None where left out.

    Attributes:
        inputs: how files are read.
        flags: own flags of the task, and their meaning.
        callback: stands among the trainer's callbacks.
    """

    flags: ClassVar[OwnFlags] = {}
    callback: Callback
    inputs: InputFiles

    @abstractmethod
    def __init__(self, model: ModelT, inputs: InputFiles, output: Path | None, options: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def table(self, paths: Sequence[str]) -> CaseTable:
        """The cases found in files, folders or a table."""

    @abstractmethod
    def loader(self, table: CaseTable, rank: int, world_size: int) -> DataLoader[Any]:
        """Loader of this rank's batches."""

    @abstractmethod
    def finish(self) -> pd.DataFrame:
        """The predictions of all ranks as a table, ``case_id`` first, perhaps with ``path`` after it."""

    def send_to(self, sink: Sink) -> None:
        """Hand the result of each case to somebody too, as soon as it is there.

        Raises:
            SuiteError: the model's results are no cases'.
        """
        raise SuiteError("--dicom: the results of this task are none that DICOM has objects for: leave it out")

    def cases(self, table: CaseTable, predictions: pd.DataFrame, failed: Sequence[tuple[str, str]]) -> list[str]:
        """Ids of the cases of the table that were predicted, where the files in ``failed`` could not be read."""
        missing = {path for path, _ in failed}
        pairs = zip(table.cases["case_id"], table.cases["path"], strict=True)
        return [str(case) for case, path in pairs if path not in missing]

    def result(self, predictions: pd.DataFrame, cases: Sequence[str], failed: Sequence[tuple[str, str]]) -> Predictions:
        """Result for Python: the table of :meth:`finish`, and what a task keeps beside it where nothing is written."""
        return Predictions(predictions, cases, failed)
