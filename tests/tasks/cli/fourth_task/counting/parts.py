"""Counting: data, model, evaluation, prediction and ensemble of a task that the suite does not know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics import MeanAbsoluteError, Metric

from datamodules.base import ScanDataModule
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.inputs import InputFiles
from datamodules.types import Batch, Scan, ScanInfo
from tasks.base import Task
from tasks.batches import of_cases, without_padding
from tasks.ensemble import Ensemble
from tasks.predictor import StepOutput
from tasks.running.evaluator import EvalResult, Evaluator
from tasks.running.inference import Inference
from tasks.running.recorder import Recorder
from tasks.steps import Stage


class CountData(ScanDataModule):
    """What all data sets of counts share: a column ``count`` in the table.

    Args:
        root: folder of the data set.
        kwargs: of every data class.
    """

    num_classes, class_names = 1, ["squares"]

    def __init__(self, root: str = ".", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)

    def case_labels(self, cases: NDArray[np.int64]) -> Tensor:
        """(N,) float32 counts."""
        return torch.from_numpy(self.table.cases["count"].to_numpy(np.float32)[cases])


class Squares(CountData):
    """Drawn squares.

    Args:
        root: not used.
        num_images: how many images are drawn.
        most: squares on an image.
        kwargs: of every data class.
    """

    def __init__(self, root: str = ".", *, num_images: int = 60, most: int = 5, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.num_images, self.most = num_images, most

    def build_table(self) -> CaseTable:
        """One case an image."""
        names = [f"squares{number:04d}" for number in range(self.num_images)]
        counts = np.random.default_rng(0).integers(0, self.most + 1, self.num_images)
        return table_of_images(pd.DataFrame({"path": names, "patient_id": names, "count": counts}))

    def read(self, image: int) -> Scan:
        """Draw an image."""
        rng = np.random.default_rng(image)
        array = rng.integers(0, 30, (32, 32)).astype(np.uint8)
        for top, left in rng.integers(0, 28, (self.table.cases["count"].to_numpy(np.int64)[image], 2)):
            array[top : top + 4, left : left + 4] = 220
        return Scan(array, ScanInfo(path=str(self.table.images["path"].iat[image]), original_size=(32, 32)))

    def hashes(self, table: CaseTable) -> list[str]:
        """No two draws are the same."""
        return list(table.images["path"])


class MeanError(MeanAbsoluteError):
    """The mean absolute error by its name."""

    def compute(self) -> Any:
        """``{"mae": ()}``."""
        return {"mae": super().compute()}


def count_rows(output: Tensor, batch: Batch) -> dict[str, list[Any]]:
    """Columns for the cases of a batch."""
    rows = {"case_id": [scan["case_id"] for scan in batch["scan"]], "prediction": output.double().tolist()}
    return rows | ({"target": batch["label"].double().tolist()} if "label" in batch else {})


class CountTask(Task):
    """How many squares are on an image.

    Args:
        hidden: width of the head.
        kwargs: network, training and facts of the data; see :class:`~tasks.base.Task`.
    """

    name: ClassVar[str] = "count"

    def __init__(self, *args: Any, hidden: int = 8, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.monitor = ("mae", "min")
        self.build_network(None)
        self.last = nn.Linear(hidden, 1)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(self.backbone.channels[-1], hidden), nn.ReLU(), self.last
        )
        self.build_metrics()

    def configure_metrics(self) -> dict[Stage, Metric]:
        """The error in all stages."""
        return {stage: MeanError() for stage in ("train", "val", "test")}

    def forward(self, image: Tensor) -> Tensor:
        """(N,) counts of (N, C, H, W) images in [0, 1]."""
        counts: Tensor = self.head(self.backbone(self.normalize(image))[-1])
        return counts.squeeze(1)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """() squared error."""
        return F.mse_loss(output.float(), batch["label"]) if len(output) else output.float().sum()

    def update_metrics(self, metric: Metric, output: Tensor, batch: Batch) -> None:
        """Show counts to the metric."""
        if len(output):
            metric.update(output, batch["label"])

    def metric_inputs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B,) counts and true counts."""
        return output, batch["label"]

    def imitation(self, output: Tensor, wanted: Tensor, batch: Batch, teacher: Self, temperature: float) -> Tensor:
        """() squared difference."""
        return F.mse_loss(output.float(), wanted.float())

    def output_layers(self) -> list[nn.Module]:
        """The last layer."""
        return [self.last]

    def rows(self, output: Tensor, batch: Batch) -> dict[str, list[Any]]:
        """Columns for the cases of a batch."""
        return count_rows(output, batch)


class CountEnsemble(Ensemble[CountTask]):
    """The mean of the members' counts."""

    def shared(self, member: CountTask) -> dict[str, Any]:
        """Nothing but the preprocessing."""
        return {}

    def combined(self, said: Iterator[StepOutput[Tensor]]) -> StepOutput[Tensor]:
        """The mean."""
        outputs = list(said)
        return {"output": torch.stack([one["output"] for one in outputs]).mean(dim=0), "batch": outputs[0]["batch"]}

    def validation_step(self, batch: Batch, batch_idx: int) -> StepOutput[Tensor]:
        """Mean counts and cases, without padding."""
        kept = without_padding(batch)
        return {"output": self.predict_step(batch, batch_idx)["output"][kept], "batch": of_cases(batch, kept)}

    def test_step(self, batch: Batch, batch_idx: int) -> StepOutput[Tensor]:
        """Mean counts and cases, without padding."""
        return self.validation_step(batch, batch_idx)

    def rows(self, output: Tensor, batch: Batch) -> dict[str, list[Any]]:
        """Columns for the cases of a batch."""
        return count_rows(output, batch)


class CountEvaluator(Evaluator[CountTask, CountData]):
    """A row a case: the count and the true one."""

    def __init__(self) -> None:
        self.callback: Recorder = Recorder()

    def adopt(self, model: CountTask, data: CountData) -> None:
        """Give the data the preprocessing of the model."""
        data.adopt(model.preprocess)

    def run(
        self, trainer: Trainer, model: CountTask, data: CountData, split: str, *, choose: bool = False
    ) -> EvalResult:
        """Run the model over a part."""
        return EvalResult(*self.callback.run(trainer, model, data, split))

    def own_facts(self, model: CountTask) -> dict[str, Any]:
        """None."""
        return {}


class CountInference(Inference[CountTask]):
    """A row an image."""

    flags: ClassVar[dict[str, str]] = {"rounded": "true: whole numbers"}

    def __init__(
        self, model: CountTask, inputs: InputFiles, output: Path | None, options: dict[str, str | None]
    ) -> None:
        self.inputs, self.preprocess = inputs, inputs.prepared(model.preprocess)
        self.rounded = options["rounded"] == "true"
        self.callback: Recorder = Recorder()
        self.callback.active = True

    def table(self, paths: Sequence[str]) -> CaseTable:
        """One case an image file."""
        return self.inputs.table(paths)

    def loader(self, table: CaseTable, rank: int, world_size: int) -> DataLoader[Any]:
        """Batches of images of the model's size."""
        return self.inputs.loader(table, self.preprocess, rank, world_size)

    def finish(self) -> pd.DataFrame:
        """The counts."""
        predictions, _ = self.callback.take()
        return predictions.round({"prediction": 0}) if self.rounded else predictions
