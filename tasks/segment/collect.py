"""The callback that puts the pieces of cases together while a model predicts."""

from __future__ import annotations

from collections.abc import Callable

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from tasks.deployment.segmented import AssembledCase
from tasks.predictor import StepOutput
from tasks.segment.assemble import CaseAssembler


class CaseCollector(Callback):
    """Hands each case on as soon as its last piece has come."""

    def __init__(self) -> None:
        self._assembler: CaseAssembler | None = None
        self._finished: Callable[[AssembledCase], None] | None = None

    def start(self, overlapping: bool, finished: Callable[[AssembledCase], None]) -> None:
        """Begin with a new set of cases.

        Args:
            overlapping: masks have one plane for each region.
            finished: called with each case.
        """
        self._assembler, self._finished = CaseAssembler(overlapping), finished

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput[Tensor], *_: object
    ) -> None:
        """Add the pieces of a batch."""
        batch = outputs["batch"]
        if self._assembler is None or self._finished is None:
            return
        for path, _reason in batch["unreadable"]:
            self._assembler.drop(path)  # what has come of it before it broke off
        if not batch["scan"]:
            return
        for case in self._assembler.add(outputs["output"], batch["pieces"], batch["scan"]):
            self._finished(case)
