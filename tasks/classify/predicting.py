"""How a classifier is applied to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch.utils.data import DataLoader

from datamodules.inputs import InputFiles
from datamodules.preprocess import Preprocess
from datamodules.table import CaseTable
from tasks.classify.judging import target_facts
from tasks.classify.task import ClassificationTask
from tasks.evaluation.operating_point import call_at
from tasks.judging import Predicting
from tasks.recorder import Recorder


class ClassificationPredicting(Predicting):
    """One row a case, with scores and calls; see :class:`~tasks.judging.Predicting`."""

    def __init__(
        self, model: ClassificationTask, inputs: InputFiles, output: Path, options: dict[str, str | None]
    ) -> None:
        self.model, self.inputs = model, inputs
        self.callback: Recorder = Recorder()
        self.callback.active = True

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file."""
        return self.inputs.table(paths)

    def loader(self, table: CaseTable, rank: int, world_size: int) -> DataLoader[Any]:
        """Batches of images of the model's size."""
        preprocess = Preprocess.from_dict(self.model.hparams["preprocess"])
        return self.inputs.loader(table, preprocess, rank, world_size)

    def finish(self) -> pd.DataFrame:
        """Scores of each case, and the call at the operating point."""
        predictions, _ = self.callback.take()
        if len(predictions) == 0:
            return predictions
        return call_at(predictions, self.model.operating_points, **target_facts(self.model))
