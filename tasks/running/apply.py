"""A model applied to files: the steps that the verb ``predict`` and ``scansuite.predict`` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules.cases.table import CaseTable
from tasks.deployment.tables import with_paths, write_predictions
from tasks.distributed import gather
from tasks.hardware import MemoryFormat, exact_float32, place
from tasks.predictor import StepOutput
from tasks.running.inference import Inference
from tasks.training.stopping.callback import without_handlers


class Unreadable(Callback):
    """Collects the files that could not be read."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput[Any], *_: object
    ) -> None:
        """Keep what the loader says."""
        self.files += outputs["batch"]["unreadable"]

    def take(self) -> list[tuple[str, str]]:
        """(path, reason) of all ranks, each file once."""
        return sorted({file for files in gather(self.files) for file in files})


@dataclass(frozen=True)
class Applied:
    """Outcome of applying a model, the same on every rank.

    Attributes:
        trainer: that ran the model.
        predictions: a table with ``path`` after ``case_id`` where the cases are files.
        unreadable: (path, reason) of the files left out.
        cases: ids of those that were predicted.
    """

    trainer: Trainer
    predictions: pd.DataFrame
    unreadable: list[tuple[str, str]]
    cases: list[str]


def apply(
    inference: Inference[Any],
    model: LightningModule,
    table: CaseTable,
    settings: Mapping[str, Any],
    memory_format: MemoryFormat = "auto",
) -> Applied:
    """Run a model over the cases of a table.

    Args:
        inference: of the model.
        model: with its weights; left on the trainer's device.
        table: as ``inference`` makes it.
        settings: of the trainer; its callbacks, if any, stand behind ours.
        memory_format: of the weights.
    """
    unreadable, callbacks = Unreadable(), settings.get("callbacks") or []
    fixed: dict[str, Any] = {"logger": False, "use_distributed_sampler": False, "enable_checkpointing": False}
    trainer = Trainer(**{**settings, **fixed, "callbacks": [inference.callback, unreadable, *callbacks]})
    without_handlers(trainer)
    inputs, device = getattr(inference, "inputs", None), trainer.strategy.root_device
    place(model, memory_format, device.type)
    if inputs is not None and device.type == "cuda":
        inputs.device = device
    loader = inference.loader(table, trainer.global_rank, trainer.world_size)
    with exact_float32():
        trainer.predict(model, loader, return_predictions=False)
    predictions, failed = inference.finish(), unreadable.take()
    predictions = with_paths(predictions, table.cases.set_index("case_id")["path"])
    return Applied(trainer, predictions, failed, inference.cases(table, predictions, failed))


def write(applied: Applied, output: Path, passed_over: Sequence[tuple[str, str]]) -> None:
    """Write the tables of what came of it, see :func:`~tasks.deployment.tables.write_predictions`."""
    write_predictions(
        output,
        applied.predictions,
        cases=applied.cases,
        unreadable=applied.unreadable,
        passed_over=passed_over,
    )
