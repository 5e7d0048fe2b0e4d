"""The steps that Lightning asks of a task: from a batch to its loss, its metrics, and what callbacks get of it."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
from pytorch_lightning.trainer.states import TrainerFn, TrainerStatus
from pytorch_lightning.utilities.types import LRSchedulerTypeUnion
from torch import Tensor, nn
from torchmetrics import Metric

from datamodules.types import Batch
from tasks.batches import (
    case_ids,
    cases_of_all,
    count_cases,
    images_of_cases,
    no_case,
    of_cases,
    without_images,
    without_padding,
)
from tasks.compression.compressible import Compressible
from tasks.distributed import count_ranks
from tasks.own.loader_batches import check_images
from tasks.own.metrics import OwnMetrics, stage_values
from tasks.predictor import PartialOutput, StepOutput
from tasks.training.configuring import move_schedule, step_plateau
from tasks.training.finite import LOOK, FiniteLoss

if TYPE_CHECKING:
    from tasks.fitting.compiling import CompiledForward
    from tasks.training.pace import Pace

Stage = Literal["train", "val", "test"]


class Steps(Compressible):
    """One step that training, validation and test share; a task says what its loss is and what its metrics see.

    Attributes:
        metrics: torchmetrics objects, ``train_metrics`` and so on, whose ``compute`` returns a dictionary; a stage
            without any has none.
        targets: keys of a batch that training and evaluation need beside ``image``.
        exact: compute in float32 whatever the trainer's mixed precision: metrics must not depend on the machine.
        compiled: ``forward`` for steps of training, where it was compiled (:mod:`tasks.fitting.compiling`).
        pace: of the schedule, where the training must end on time (:mod:`tasks.training.on_time`).
    """

    targets: ClassVar[tuple[str, ...]] = ()
    in_channels: int
    metrics: nn.ModuleDict
    exact: bool = False
    compiled: CompiledForward | None = None
    pace: Pace | None = None

    def __init__(self) -> None:
        super().__init__()
        self._finite = FiniteLoss()

    @property
    def feature_width(self) -> int | None:
        """Length of the features that the model takes in place of images; None: it takes none."""
        return None

    @property
    def fitting(self) -> bool:
        """Whether a training goes on, its validation included."""
        state = None if self._trainer is None else self._trainer.state
        return state is not None and state.fn == TrainerFn.FITTING and state.status == TrainerStatus.RUNNING

    @abstractmethod
    def metric_inputs(self, output: Any, batch: Batch) -> tuple[Any, Any]:
        """Prediction and target of a batch, as metrics of the user's see them."""

    @abstractmethod
    def loss(self, output: Any, batch: Batch) -> Tensor:
        """() loss of the batch in float32; 0, with gradients of 0, for a batch without cases."""

    @abstractmethod
    def update_metrics(self, metric: Metric, output: Any, batch: Batch) -> None:
        """Show a batch, which may be without cases, to the metrics of a stage."""

    def check_targets(self, batch: Batch, *, values: bool) -> None:
        """See that the targets of a batch of the user's own loader are such as the loss takes.

        Args:
            batch: with :attr:`targets`.
            values: look at the values too, which makes a GPU wait.

        Raises:
            SuiteError: a shape, type or number does not fit.
        """

    def _shared_step(self, batch: Batch, stage: Stage, batch_idx: int = 0) -> tuple[Tensor, Any, Batch]:
        double, width = self.dtype == torch.float64, self.feature_width
        check_images(batch, self.in_channels, self.targets, double=double, features=width)
        if "scan" not in batch:  # data sets of the suite have looked
            self.check_targets(batch, values=not batch["image"].is_cuda or batch_idx % LOOK == 0)
        with self._part("forward"):
            output = self._output(batch["image"], *self.further_inputs(batch))
        kept, self.kept_images = without_padding(batch), None
        # Lightning divides the sum of weights over ranks by their number, and drops the remainder.
        self.weight = len(kept) * (ranks := count_ranks())
        if stage == "train" and ranks > 1:  # shares of one loss, in which each rank's counts alike
            self.weight = cases_of_all(batch, ranks, last=batch_idx + 1 >= self.trainer.num_training_batches)
        if len(kept) < count_cases(batch):
            self.kept_images = images_of_cases(batch, kept)
            output, batch = output[kept], of_cases(batch, kept)
        # A batch of padding alone, empty by now, still takes part in what ranks do together, with weight 0.
        with self._part("loss"):
            loss = self.loss(output, batch)
        self.log(f"{stage}/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=self.weight, sync_dist=True)
        if f"{stage}_metrics" in self.metrics:
            self.update_metrics(cast("Metric", self.metrics[f"{stage}_metrics"]), output.detach().float(), batch)
        if f"{stage}_own" in self.metrics and kept:
            cast("OwnMetrics", self.metrics[f"{stage}_own"]).update(*self.metric_inputs(output.detach().float(), batch))
        return loss, output, batch

    def _part(self, name: str) -> AbstractContextManager[object]:
        """A part of the step, under its name in the trainer's profile."""
        return nullcontext() if self._trainer is None else self._trainer.profiler.profile(name)  # type: ignore[attr-defined]

    def _output(self, image: Tensor, *further: Any) -> Any:
        """What the networks say of images: a tensor, or what can be indexed, detached and made float as one can."""
        if self.compiled is not None and self.training and self.compiled.takes(image):
            return self.compiled(image, *further)
        if not self.exact:
            return self(image, *further)
        with torch.autocast(self.device.type, enabled=False):
            return self(image, *further)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a training batch."""
        loss, output, batch = self._shared_step(batch, "train", batch_idx)
        if self.objective is not None:
            with self._part("loss"):
                loss = self.objective(loss, output, batch)
        self._finite.look(loss, self.current_epoch, batch_idx)
        return loss

    def lr_scheduler_step(self, scheduler: LRSchedulerTypeUnion, metric: Any) -> None:
        """Move the schedule: by one step, or as many as keep pace with the clock."""
        steps = 1 if self.pace is None or metric is not None else self.pace.advance(self.trainer.global_step)
        move_schedule(scheduler, metric, steps)

    def validation_step(self, batch: Batch, batch_idx: int) -> StepOutput[Any]:
        """Output and cases of a validation batch, without padding."""
        _, output, batch = self._shared_step(batch, "val", batch_idx)
        return {"output": output, "batch": batch}

    def test_step(self, batch: Batch, batch_idx: int) -> StepOutput[Any]:
        """Output and cases of a test batch, without padding."""
        _, output, batch = self._shared_step(batch, "test", batch_idx)
        return {"output": output, "batch": batch}

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Refuse a batch of a loader of the user's own that the networks cannot take."""
        check_images(batch, self.in_channels, double=self.dtype == torch.float64)

    def predict_step(self, batch: Batch, batch_idx: int) -> StepOutput[Any]:
        """Output and cases of a batch without targets; a batch may be empty where none of its files was readable."""
        if no_case(batch):
            return {"output": batch["image"], "batch": batch}
        return self.told({"output": self(batch["image"], *self.further_inputs(batch)), "batch": batch})

    def told(self, said: StepOutput[Any]) -> StepOutput[Any]:
        """What a user's own loader gets: beside the output its meaning, by case, and the batch without its images.

        The suite's own loaders, which know what could not be read, get it as it is: callbacks put their cases together.
        """
        batch = said["batch"]
        if "unreadable" in batch:
            return said
        told: StepOutput[Any] = {**said, "batch": without_images(batch), **self.meaning(said["output"], batch)}
        if "scan" in batch:
            told["case_id"] = case_ids(batch["scan"])
        return told

    def meaning(self, output: Any, batch: Batch) -> PartialOutput:
        """An output in the words of the task: ``scores``, ``masks``, ``boxes``."""
        return {}

    def _log_metrics(self, stage: Stage) -> None:
        values = stage_values(self.metrics, stage)
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()})

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's metrics: what is not validated in this one has none."""
        self.trainer.callback_metrics.clear()

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the epoch."""
        self._finite.settle()
        self._log_metrics("train")
        step_plateau(self.trainer)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation part."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test part."""
        self._log_metrics("test")
