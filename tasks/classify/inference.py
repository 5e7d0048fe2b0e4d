"""Inference of a classifier on files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.cases.table import CaseTable
from datamodules.classification.bag_inputs import bag_loader
from datamodules.inputs import InputFiles
from scansuite.errors import SuiteError
from tasks.classify.ensemble import ClassificationModel
from tasks.classify.evaluator import facts_of
from tasks.deployment.case_results import Sink, files_of, row_results
from tasks.deployment.classified import ClassificationPredictions, finished_table, weight_rows, weight_table
from tasks.distributed import gather, is_rank_zero
from tasks.predictor import StepOutput
from tasks.running.inference import Inference
from tasks.running.recorder import Recorder


class PredictionRecorder(Recorder):
    """Keeps the path of each case and, where the model weighs the images of a case, their weights too."""

    def __init__(self) -> None:
        super().__init__()
        self._weights: list[dict[str, Any]] = []
        self._paths: dict[str, str] = {}

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput[Tensor], *_: object
    ) -> None:
        """Keep the rows and the weights of a batch."""
        super().on_predict_batch_end(trainer, pl_module, outputs)
        batch = outputs["batch"]
        self._paths |= {scan["case_id"]: scan["path"] for scan in batch["scan"]}
        weights = outputs.get("weights")
        if weights is None:
            return
        own = iter(weights.tolist())
        for scan, bag in zip(batch["scan"], batch["bags"], strict=True):
            self._weights += weight_rows(scan["case_id"], bag, list(islice(own, len(bag))))

    def take_paths(self) -> dict[str, str]:
        """Case id -> path, of all ranks."""
        return {case: path for rank in gather(self._paths) for case, path in rank.items()}

    def take_weights(self) -> pd.DataFrame | None:
        """``case_id,path,slice,weight`` of all ranks; None where nothing was weighed."""
        return weight_table([row for rank in gather(self._weights) for row in rank])


class ClassificationInference(Inference[ClassificationModel]):
    """Inference with one row a case, with scores and calls; see :class:`~tasks.running.inference.Inference`.

    Where the model evaluates the images of a case together, a volume, a folder of images, or the rows of a table with
    one ``case_id`` are a case; a model with attention leaves the weights of the images in ``attention.csv``. A model
    that evaluates each slice of a volume for itself gives one row a slice.
    """

    def __init__(
        self, model: ClassificationModel, inputs: InputFiles, output: Path | None, options: Mapping[str, Any]
    ) -> None:
        self.model, self.inputs, self.output = model, inputs, output
        self.slices = model.slices
        self.joined = model.aggregate != "none"
        self.preprocess = inputs.prepared(model.preprocess, self.slices)
        self.callback: PredictionRecorder = PredictionRecorder()
        self.callback.active = True
        self.attention: pd.DataFrame | None = None
        self._sink: Sink | None = None
        self._files: dict[str, list[Path]] = {}  # of each case

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file, a volume, or a group of them."""
        table = self.inputs.table(paths, volumes=self.slices is not None, together=self.joined)
        self._files = files_of(table)
        return table

    def send_to(self, sink: Sink) -> None:
        """See :meth:`~tasks.running.inference.Inference.send_to`; here they come at the end."""
        if self.slices is not None and not self.joined:
            raise SuiteError("--dicom: the model scores each slice of a volume for itself, and a result is of a case")
        self._sink = sink

    def loader(self, table: CaseTable, rank: int, world_size: int) -> DataLoader[Any]:
        """Batches of images of the model's size."""
        preprocess = self.preprocess
        if self.slices is None and not self.joined:
            return self.inputs.loader(table, preprocess, rank, world_size)
        limit = self.model.bag_limit or 0
        return bag_loader(
            self.inputs, table, preprocess, self.slices,
            joined=self.joined, limit=limit, rank=rank, world_size=world_size,
        )  # fmt: skip

    def finish(self) -> pd.DataFrame:
        """Scores of each case, and the call at the operating point."""
        predictions, _ = self.callback.take()
        self.attention, paths = self.callback.take_weights(), self.callback.take_paths()
        output = self.output if is_rank_zero() else None
        table = finished_table(predictions, facts_of(self.model), paths, self.attention, output)
        if self._sink is not None and is_rank_zero():
            rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
            names, limits, volumes = self.model.class_names, self.inputs.limits, self.slices is not None
            for case in row_results(rows, self._files, names, limits, volumes=volumes):
                self._sink(case)
        return table

    def cases(self, table: CaseTable, predictions: pd.DataFrame, failed: Sequence[tuple[str, str]]) -> list[str]:
        """Cases with a row: one may go on without some of its images."""
        return [str(case) for case in predictions["case_id"]]

    def result(
        self, predictions: pd.DataFrame, cases: Sequence[str], failed: Sequence[tuple[str, str]]
    ) -> ClassificationPredictions:
        """Result with scores by case."""
        return ClassificationPredictions(predictions, cases, failed, attention=self.attention)
