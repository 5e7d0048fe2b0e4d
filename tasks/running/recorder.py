"""The callback between model and tables: what a step says of its cases becomes rows, each case once."""

from __future__ import annotations

from typing import Any, Protocol, cast

import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.types import STEP_OUTPUT

from datamodules.base import ScanDataModule
from datamodules.types import Batch
from tasks.deployment.tables import UNCERTAINTY, join, scan_rows
from tasks.distributed import gather
from tasks.predictor import StepOutput


class SaysRows(Protocol):
    """A model that can say what stands in the predictions table."""

    def rows(self, output: torch.Tensor, batch: Batch) -> dict[str, list[Any]]:
        """Columns for the cases of a batch, ``case_id`` first."""
        ...


class Recorder(Callback):
    """Collects rows while ``active``; :meth:`take` puts those of all ranks together."""

    def __init__(self) -> None:
        self.active = False
        self._parts: list[tuple[pd.DataFrame, pd.DataFrame]] = []

    def _record(self, model: LightningModule, outputs: StepOutput[torch.Tensor]) -> None:
        scans = outputs["batch"].get("scan")
        if self.active and scans:
            rows = cast("SaysRows", model).rows(outputs["output"], outputs["batch"])
            if (spread := outputs.get("spread")) is not None:
                rows[UNCERTAINTY] = spread.double().cpu().tolist()
            self._parts.append((pd.DataFrame(rows), scan_rows(scans)))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, *_: object
    ) -> None:
        """Keep the rows of a validation batch."""
        self._record(pl_module, cast("StepOutput[torch.Tensor]", outputs))

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, *_: object) -> None:
        """Keep the rows of a test batch."""
        self._record(pl_module, cast("StepOutput[torch.Tensor]", outputs))

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput[torch.Tensor], *_: object
    ) -> None:
        """Keep the rows of a batch without targets."""
        self._record(pl_module, outputs)

    def run(
        self, trainer: Trainer, model: LightningModule, data: ScanDataModule, split: str
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Run a model over a part, and :meth:`take` what it says; the predictions with a column ``split``.

        Args:
            trainer: with this among its callbacks.
            model: with its weights.
            data: the part's data module.
            split: ``val`` or ``test``.
        """
        self.active = True
        if split == "val":
            trainer.validate(model, dataloaders=data.val_dataloader(), verbose=False)
        else:
            trainer.test(model, dataloaders=data.test_dataloader(), verbose=False)
        self.active = False
        predictions, scans = self.take()
        predictions.insert(1, "split", split)
        return predictions, scans

    def take(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Predictions, and ``case_id,width,height,spacing`` of the scans as stored; of all ranks, each case once.

        The same on every rank; the recorder is empty afterwards.
        """
        own, self._parts = self._parts, []
        parts = [part for rank in gather(own) for part in rank]
        return join([rows for rows, _ in parts]), join([scans for _, scans in parts])
