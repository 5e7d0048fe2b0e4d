"""The task under every task: one backbone, one shared step, one way to optimise."""

from __future__ import annotations

import logging
import math
import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from backbones.initialisation import Scheme, initialise
from datamodules.types import Batch
from datamodules.useless import Useless
from scansuite.errors import SuiteError
from tasks.batches import of_cases, without_padding
from tasks.compression.compressible import Compressible
from tasks.compression.pruned_sizes import resize
from tasks.links import Link, least_side
from tasks.normalize import Normalize
from tasks.parent_checkpoint import read_parent
from tasks.training.flags import WITHOUT, check_training, learning_rate_scales, unfreezing_epochs
from tasks.training.optimizers import build_optimizer, check_optimizer
from tasks.training.provenance import Provenance, joined
from tasks.training.schedules import Schedule, Span, build_schedules, check_schedule

log = logging.getLogger(__name__)

Stage = Literal["train", "val", "test"]


class Task(Compressible):
    """Backbone -> head -> loss, with everything that tasks have in common.

    A subclass builds its networks in its constructor after :meth:`build_backbone`, and says how an output becomes a
    loss (:meth:`loss`) and what the metrics see (:meth:`update_metrics`). Its ``metrics`` (``train_metrics`` and so on)
    are torchmetrics objects whose ``compute`` returns a dictionary; a stage without any has none.

    Args:
        drop_path: highest chance with which a block of the network is passed over in training (stochastic depth).
        optimizer: ``adamw``, ``adam``, ``sgd``, ``rmsprop`` or any other of timm's optimisers.
        optimizer_args: further arguments of the optimiser (``momentum``, ``betas``, ``alpha``, ...).
        lr: learning rate at its highest.
        weight_decay: not applied to biases and norms.
        backbone_lr_factor: learning rate of the backbone as a share of ``lr``.
        layer_decay: factor on the learning rate from each layer of the backbone to the one before it.
        schedule: of the learning rate, after the warm-up.
        schedule_args: its arguments, lengths in epochs: ``step_size``, ``gamma``, ``milestones``, ``factor``,
            ``patience``, ``t_max``, ``t_0``, ``t_mult``, ``base_lr``, ``max_lr``, ``min_lr``, ``power``, ...
        warmup: share of all steps spent warming up.
        unfreeze: the epoch (from 0) in which a frozen backbone begins to train; of several numbers each lets one more
            of its stages train, the deepest first.
        ema: decay of an exponential moving average of the weights, such as 0.999; the average is judged and kept.
        swa: share of the epochs, such as 0.75, after which weights are averaged; the average is judged and kept.
        early_stopping: stop after this many epochs without a better validation metric (epochs that are not validated do
            not count).
        teacher: checkpoint of a trained model of the same task and classes that this one learns from (distillation).
        distill_alpha: share of the loss that compares outputs with the teacher's; the rest is the task's own.
        distill_temperature: that softens both outputs; left out: 4 in classification, 1 elsewhere.
        distill_features: weight of the loss that compares feature maps of equal size, beside the others.
        prune: prune the model in ``weights``, a checkpoint of this task, and train on: ``magnitude`` sets its smallest
            weights to 0, where they stay; ``channels`` takes whole channels out.
        prune_amount: share of the weights (``magnitude``) or of the multiply-adds (``channels``) that go.

    Attributes:
        name: of the task on the command line.
        useless: arguments that do nothing where another one says so.
        monitor: metric that chooses the best checkpoint, and ``max`` or ``min``; it depends on no threshold.
        facts: constructor arguments that the data module fills in on the command line.
        links: arguments of the data class that follow from flags of the model.
        operating_points: threshold by class, chosen on validation once the model is trained.
        exact: compute in float32 whatever the trainer's mixed precision: figures must not depend on the machine.
    """

    name: ClassVar[str]
    useless: ClassVar[tuple[Useless, ...]] = WITHOUT
    facts: ClassVar[tuple[str, ...]] = ("in_channels", "input_size", "preprocess", "normalize", "statistics")
    links: ClassVar[tuple[Link, ...]] = (Link("weights", "min_image_size", least_side),)
    monitor: tuple[str, Literal["min", "max"]]
    metrics: nn.ModuleDict

    def __init__(
        self,
        *,
        drop_path: float = 0.0,
        optimizer: str = "adamw",
        optimizer_args: dict[str, Any] | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        backbone_lr_factor: float = 1.0,
        layer_decay: float | None = None,
        schedule: Schedule = "cosine",
        schedule_args: dict[str, Any] | None = None,
        warmup: float = 0.05,
        unfreeze: int | list[int] | str | None = None,
        ema: float | None = None,
        swa: float | None = None,
        early_stopping: int | None = None,
        teacher: str | None = None,
        distill_alpha: float = 0.5,
        distill_temperature: float | None = None,
        distill_features: float = 0.0,
        prune: Literal["magnitude", "channels"] | None = None,
        prune_amount: float = 0.5,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()  # those of the subclass too
        # At start, not after the data have been read.
        check_optimizer(optimizer)
        check_training(self.hparams)
        check_schedule(schedule, schedule_args or {}, lr, warmup)
        self.operating_points: dict[str, float] = {}
        self.exact = False

    def build_backbone(
        self,
        name: str,
        *,
        weights: str | None,
        freeze: str | None,
        stem: str,
        in_channels: int,
        input_size: Sequence[int] | None,
        strides: Sequence[int] | None,
        classes: int | None,
        args: dict[str, Any] | None,
        init: Scheme = "default",
    ) -> None:
        """Make ``self.backbone``, initialise it or load its weights, and freeze it.

        The stem is shrunk (3x3, no pooling) for images under 64 px where no weights are asked for, or where they come
        from a checkpoint with such a stem; what was decided is kept in the hyperparameters, so that a checkpoint is
        built again in the same way.
        """
        from backbones.pyramid import Backbone
        from backbones.weights import load_weights

        if init != "default" and weights is not None:
            raise SuiteError(
                f"--model.init {init}: --model.weights {weights} would replace what it draws: leave one out"
            )

        set_here = {"in_channels", "strides", "classes", "image_size", "small_stem"} & set(args or {})
        if set_here:
            raise SuiteError(
                f"--model.backbone_args: {min(set_here)} comes from the data and from --model.stem and --model.head: "
                "leave it out"
            )
        drop_path = self.hparams["drop_path"]
        if drop_path:
            args = {"drop_path_rate": drop_path, **(args or {})}
        side = min(input_size) if input_size else None
        if stem == "auto" and (parent := read_parent(weights)) is not None:
            stem = parent.stem
        small = stem == "small" or (stem == "auto" and weights is None and side is not None and side < 64)
        try:
            self.backbone = Backbone(
                name,
                in_channels,
                strides,
                classes=classes,
                image_size=(input_size[0], input_size[1]) if input_size else None,
                small_stem=small,
                **(args or {}),
            )
        except SuiteError as error:
            if drop_path and "'drop_path_rate'" in str(error):
                raise SuiteError(
                    f"--model.drop_path {drop_path}: {name} has no stochastic depth: leave it out"
                ) from None
            raise
        self.hparams["stem"] = "small" if small else "standard"
        if small:
            log.info("%s: %s", name, self.backbone.stem_note)
        if init != "default":
            log.info("%s: %d layers initialised by %s", name, initialise(self.backbone, init), init)
        if weights is not None and self.hparams["prune"] is None:  # which takes the whole model from there
            if (parent := read_parent(weights)) is not None and parent.pruned:
                raise SuiteError(
                    f"--model.weights {weights}: its channels were pruned and fit no whole network: train on with "
                    "--model.prune channels --model.prune_amount 0, or start from the checkpoint it came from"
                )
            log.info("%s", load_weights(self.backbone, weights))
        epochs = unfreezing_epochs(self.hparams["unfreeze"])
        if epochs is not None and freeze != "backbone":
            raise SuiteError("--model.unfreeze: nothing is frozen: give --model.freeze backbone too")
        if isinstance(epochs, list) and len(epochs) > len(self.backbone.stages):
            raise SuiteError(
                f"--model.unfreeze: {len(epochs)} epochs, but {name} has {len(self.backbone.stages)} stages: "
                f"{', '.join(self.backbone.stages)}"
            )
        if freeze == "backbone":
            self.backbone.freeze()

    def build_normalisation(
        self,
        mode: str,
        name: str,
        *,
        weights: str | None,
        in_channels: int,
        statistics: tuple[list[float], list[float]] | None,
    ) -> None:
        """Make ``self.normalize`` from the mode that the data module was given (see ``--data.normalize``)."""
        from backbones.imagenet import average_normalisation, pretrained_normalisation

        mean: Sequence[float]
        std: Sequence[float]
        parent = read_parent(weights) if mode == "auto" else None  # reads the whole checkpoint
        if parent is not None and len(parent.mean) == in_channels:
            mean, std = parent.mean, parent.std
        elif mode == "imagenet" or (mode == "auto" and weights is not None):
            mean, std = average_normalisation(*pretrained_normalisation(name), in_channels)
        elif mode in ("auto", "train") and statistics is not None:
            mean, std = statistics
        else:
            mean, std = [0.0] * in_channels, [1.0] * in_channels
        self.normalize = Normalize(mean, std, per_image=mode == "image")

    @abstractmethod
    def loss(self, output: Any, batch: Batch) -> Tensor:
        """() loss of the batch in float32; 0, with gradients of 0, for a batch without cases."""

    @abstractmethod
    def update_metrics(self, metric: Metric, output: Any, batch: Batch) -> None:
        """Show a batch, which may be without cases, to the metrics of a stage."""

    def _shared_step(self, batch: Batch, stage: Stage) -> tuple[Tensor, Any, Batch]:
        output = self._output(batch["image"], *self.further_inputs(batch))
        kept = without_padding(batch)
        if len(kept) < len(batch["scan"]):
            output, batch = output[kept], of_cases(batch, kept)
        # A batch of padding alone, empty by now, still takes part in what ranks do together, with weight 0.
        loss = self.loss(output, batch)
        self.log(f"{stage}/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(kept), sync_dist=True)
        if f"{stage}_metrics" in self.metrics:
            self.update_metrics(cast("Metric", self.metrics[f"{stage}_metrics"]), output.detach().float(), batch)
        return loss, output, batch

    def further_inputs(self, batch: Batch) -> tuple[Any, ...]:
        """What ``forward`` takes of a batch beside the images."""
        return ()

    def _output(self, image: Tensor, *further: Any) -> Any:
        """What the networks say of images: a tensor, or what can be indexed, detached and made float as one can."""
        if not self.exact:
            return self(image, *further)
        with torch.autocast(self.device.type, enabled=False):
            return self(image, *further)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a training batch."""
        loss, output, batch = self._shared_step(batch, "train")
        if self.objective is not None:
            loss = self.objective(loss, output, batch)
        # Not at each step: the look makes a GPU wait.
        if batch_idx % 20 == 0 and not torch.isfinite(loss):
            raise SuiteError(
                f"the training loss is {loss.item()} in epoch {self.current_epoch}, step {batch_idx}: lower "
                "--model.lr, clip with --trainer.gradient_clip_val 1, or train with --trainer.precision 32-true"
            )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Output and cases of a validation batch, without padding."""
        _, output, batch = self._shared_step(batch, "val")
        return {"output": output, "batch": batch}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Output and cases of a test batch, without padding."""
        _, output, batch = self._shared_step(batch, "test")
        return {"output": output, "batch": batch}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Output and cases of a batch without targets; a batch may be empty where none of its files was readable."""
        if not batch["scan"]:
            return {"output": batch["image"], "batch": batch}
        return {"output": self(batch["image"], *self.further_inputs(batch)), "batch": batch}

    def _log_metrics(self, stage: Stage) -> None:
        if f"{stage}_metrics" not in self.metrics:
            return
        metric = cast("Metric", self.metrics[f"{stage}_metrics"])
        values = cast("dict[str, Tensor]", metric.compute())
        metric.reset()
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()})

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's metrics: what is not validated in this one has none."""
        self.trainer.callback_metrics.clear()

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the epoch."""
        self._log_metrics("train")
        self._step_plateau()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation part."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test part."""
        self._log_metrics("test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, a schedule that moves each step, and one that moves each epoch by the metric."""
        hparams = self.hparams
        optimizer = build_optimizer(
            self,
            hparams["optimizer"],
            hparams["lr"],
            hparams["weight_decay"],
            hparams["optimizer_args"] or {},
            scales=learning_rate_scales(self.backbone, hparams["backbone_lr_factor"], hparams["layer_decay"]),
            waiting={f"backbone.{name}" for name in self.backbone.waiting} if hparams["unfreeze"] is not None else (),
        )
        steps, epochs = self.trainer.estimated_stepping_batches, self.trainer.max_epochs
        if steps == math.inf or epochs is None:
            raise SuiteError("--trainer.max_epochs -1: the learning-rate schedule needs an end: give a number")
        if epochs == -1:  # --trainer.max_steps ends the training, and Lightning has not counted the batches yet
            self.trainer.fit_loop.setup_data()
        per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        epochs = math.ceil(steps / per_epoch) if epochs == -1 else epochs
        metric, mode = self.monitor
        by_step, by_epoch = build_schedules(
            optimizer,
            hparams["schedule"],
            hparams["schedule_args"] or {},
            lr=hparams["lr"],
            span=Span(epochs, per_epoch, int(steps)),
            warmup=hparams["warmup"],
            mode=mode,
        )
        schedules: list[Any] = []
        if by_step is not None:
            schedules.append({"scheduler": by_step, "interval": "step"})
        if by_epoch is not None:
            # Not stepped by Lightning, which does so after the checkpoint of the epoch has been written.
            never: dict[str, Any] = {"interval": "epoch", "frequency": sys.maxsize}
            schedules.append({"scheduler": by_epoch, "monitor": f"val/{metric}", **never})
        return cast("OptimizerLRScheduler", ([optimizer], schedules))

    def _step_plateau(self) -> None:
        """Step a plateau schedule, so that the checkpoint of this epoch has its state and a resumed run goes on."""
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                value = self.trainer.callback_metrics.get(str(config.monitor))
                if value is None and self.trainer.enable_validation:
                    continue  # no validation in this epoch: nothing new is known
                if value is None:
                    raise SuiteError(f"--model.schedule plateau: there is no {config.monitor}: give a validation part")
                config.scheduler.step(float(value))

    def no_weight_decay(self) -> set[str]:
        """Parameters that the backbone's authors exempt from weight decay (position embeddings and the like)."""
        exempt = getattr(self.backbone.net, "no_weight_decay", None)
        return {f"backbone.{name}" for name in exempt()} if exempt is not None else set()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint which task made it, and at which scores it calls."""
        checkpoint["scansuite"] = {"task": self.name, "operating_points": self.operating_points}
        if self.pruned_sizes:
            checkpoint["scansuite"]["sizes"] = self.pruned_sizes
        if self.provenance is not None:
            checkpoint["scansuite"]["provenance"] = self.provenance.to_plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the operating points back, what was seen, and the sizes of pruned layers before their weights come."""
        made = checkpoint.get("scansuite", {})
        self.operating_points = dict(made.get("operating_points", {}))
        self.pruned_sizes = made.get("sizes", {})
        resize(self, self.pruned_sizes)
        if "provenance" in made:  # beside what a run that goes on has noted already
            self.provenance = joined(self.provenance, Provenance.from_plain(made["provenance"]))
