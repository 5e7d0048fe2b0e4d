"""Base of all tasks: one backbone, one shared step, one way to optimise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import Metric

from backbones.initialisation import Scheme
from backbones.names import own_network
from backbones.weight_files import reading_once
from datamodules.base import ScanDataModule
from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from datamodules.useless import Useless
from scansuite.errors import SuiteError
from scansuite.own_parts import Part, as_paths
from tasks.auto_weights import resolved
from tasks.building import (
    NetworkSettings,
    Statistics,
    Stem,
    build_backbone,
    build_normalisation,
    licence_of,
    record_of_weights,
    resolved_stem,
)  # fmt: skip
from tasks.compression.pruned_sizes import resize
from tasks.evaluation.calibration.calibration import Calibration, Method
from tasks.fitting.standalone import Standalone
from tasks.own.metrics import OwnMetrics, build_own, direction
from tasks.own.parts import OwnPart
from tasks.padding import padded
from tasks.parent_checkpoint import ParentCheckpoint, go_on, read_parent
from tasks.registry.links import Link, least_side
from tasks.registry.run_files import checkpoint_in
from tasks.steps import Stage, Steps
from tasks.training.configuring import Monitor, configured
from tasks.training.flags import WITHOUT, unfreezing_epochs
from tasks.training.provenance import Provenance, joined
from tasks.training.schedules import Schedule, check_schedule
from tasks.training.settings import (
    AveragingSettings,
    DistillationSettings,
    OptimizerSettings,
    PruningMethod,
    PruningSettings,
    ScheduleSettings,
    within,
)

if TYPE_CHECKING:  # brings timm, which the help of the command line can do without
    from backbones.network import Strides


class Task(Steps, Standalone):
    """Backbone -> head -> loss, with everything that tasks have in common.

    A subclass's constructor has the arguments that are its own and hands on the others; then it builds, in this order,
    its loss, its networks (:meth:`build_network` first) and, by :meth:`configure_metrics`, its metrics. It says how an
    output becomes a loss (:meth:`loss`) and what the metrics see (:meth:`update_metrics`).

    Args:
        backbone: any timm network, or a textbook one (the verb ``list`` has them); ``hf-hub:REPO`` or
            ``local-dir:FOLDER`` is the network that a repository of the hub or a folder describes (docs/networks.md).
        backbone_args: further arguments of the network, as timm takes them (``drop_path_rate``, ...); left out: none.
        weights: ``imagenet``, a run folder or checkpoint of any task, or a ``.pth`` or ``.safetensors`` file: the
            backbone is taken, and of the same task with the same classes head, decoder or detector too; ``auto`` is
            ``imagenet`` where these weights can be had, or those of the repository or folder in ``backbone``, else from
            scratch (docs/networks.md); left out: from scratch.
        init: draw the backbone's weights anew by ``kaiming``, ``xavier``, ``normal``, ``truncated_normal`` or
            ``orthogonal``; ``default`` is the network's own scheme.
        freeze: ``backbone`` trains the rest alone: the head (feature extraction), the decoder or the detector; left
            out: all is trained.
        stem: ``small`` is 3x3 without pooling; ``auto`` takes that of the checkpoint in ``weights``, else ``standard``,
            or in classification ``small`` for images under 64 px trained from scratch.
        drop_path: highest chance (0 to 1) with which a block of the network is passed over in training (stochastic
            depth).
        grad_checkpointing: compute the activations of the backbone, and of a decoder, again in the backward pass
            instead of keeping them: less memory, more time.
        optimizer: ``adamw``, ``adam``, ``sgd``, ``rmsprop`` or any other of timm's optimisers.
        optimizer_args: further arguments of the optimiser (``momentum``, ``betas``, ``alpha``, ...); left out: its own
            defaults.
        lr: learning rate at its highest, which is where the warm-up ends.
        weight_decay: factor of the weight decay, which biases and norms do not take part in.
        backbone_lr_factor: learning rate of the backbone as a multiple of ``lr``.
        layer_decay: factor (0 to 1) on the learning rate from each layer of the backbone to the one before it; left
            out: 1.
        schedule: course of the learning rate after the warm-up.
        schedule_args: arguments of the schedule, lengths in epochs: ``step_size``, ``gamma``, ``milestones``,
            ``factor``, ``patience``, ``t_max``, ``t_0``, ``t_mult``, ``base_lr``, ``max_lr``, ``min_lr``, ``power`` and
            others; left out: its own defaults.
        warmup: share (0 to 1) of all steps spent warming up.
        unfreeze: epochs after which a frozen backbone begins to train; of several numbers each lets one more of its
            stages train, the deepest first; left out: never, where ``freeze`` says so.
        ema: decay (0 to 1) of an exponential moving average of the weights, such as 0.999; the average is evaluated and
            kept; left out: no average.
        swa: share (0 to 1) of the epochs, such as 0.75, after which weights are averaged; the average is evaluated and
            kept; left out: no average.
        early_stopping: epochs without a better validation metric after which training stops (those that are not
            validated do not count); left out: it does not.
        early_stopping_median: validated epochs whose median metric early stopping looks at, since that of a small
            validation part jumps; 1 takes each by itself.
        early_stopping_gain: smallest gain over the best before that early stopping counts, in the metric's unit (most
            are shares, 0 to 1); of one that rises to 1 never more than a tenth of what is left.
        teacher: run folder or checkpoint of a trained model of the same task and classes that this one learns from
            (distillation); left out: none.
        distill_alpha: share (0 to 1) of the loss that compares outputs with the teacher's; the rest is the task's own.
        distill_temperature: temperature that softens both outputs; left out: 4 in classification, 1 elsewhere.
        distill_features: weight of the loss that compares feature maps of equal size, beside the others.
        prune: prune the model in ``weights``, a checkpoint of this task, and train on: ``magnitude`` sets its smallest
            weights to 0, where they stay; ``channels`` takes whole channels out; left out: nothing is pruned.
        prune_amount: share (0 to 1) of the weights (``magnitude``) or of the multiply-adds (``channels``) that go.
        metrics: further metrics of torchmetrics or of your own, logged as ``val/<name>`` (docs/extending.md); left out:
            none.
        monitor: name of one of ``metrics`` that chooses the best checkpoint; left out: the task's own metric.
        num_classes: number of classes, labels or regions, from the data.
        class_names: in class order, from the data; left out: their numbers.
        in_channels: of the images, from the data.
        input_size: (H, W) in pixels that the model is trained on, from the data.
        preprocess: how stored values become the model's input, from the data; kept for predict and export. Left out:
            images of ``in_channels`` at the size as stored.
        normalize: see ``--data.normalize``.
        statistics: mean and deviation of the training images, from the data.

    Attributes:
        name: of the task on the command line.
        useless: arguments that do nothing where another one says so.
        facts: constructor arguments that the data module fills in on the command line.
        links: arguments of the data class that follow from flags of the model.
        unsaved: arguments that checkpoints do not keep.
        own_parts: arguments that may name a class of the user's.
        small_stem_below: see :func:`~tasks.building.resolved_stem`.
        pads: images are filled up to a multiple of :data:`~tasks.padding.MULTIPLE` pixels before the backbone.
        monitor: metric that chooses the best checkpoint, and ``max`` or ``min``; it depends on no threshold.
        behind_backbone: arguments that shape what stands behind the backbone, which weights of it fit alone.
        slices: how volumes are cut; None where the model is for images alone.
        tile: (h, w) in pixels of the parts that large images are evaluated and predicted by; None: whole images.
        overlap: share of a tile that the next one covers again.
        mixup: with which training images are mixed, where the task does that; likewise ``cutmix``.
        network: the flags of the backbone; likewise ``optimization``, ``schedule``, ``averaging``, ``distillation``
            and ``pruning`` those of their subject.
        weights_licence: of the weights that it began with, as it is stated; None: not stated, or from scratch.
        parent_record: what the file in ``weights`` says of the cases it has seen, in plain types; None: nothing.
        operating_points: threshold by class, chosen on validation once the model is trained.
        calibration_method: by which scores are calibrated, where the task does that.
        calibration: of scores, fitted on validation once the model is trained; None: they are the model's own.
    """

    name: ClassVar[str]
    useless: ClassVar[tuple[Useless, ...]] = WITHOUT
    facts: ClassVar[tuple[str, ...]] = (
        "in_channels", "input_size", "preprocess", "normalize", "statistics", "num_classes", "class_names",
    )  # fmt: skip
    links: ClassVar[tuple[Link, ...]] = (Link("weights", "min_image_size", least_side),)
    unsaved: ClassVar[tuple[str, ...]] = ()
    own_parts: ClassVar[tuple[OwnPart, ...]] = ()
    small_stem_below: ClassVar[int] = 0
    pads: ClassVar[bool] = False
    behind_backbone: ClassVar[tuple[str, ...]] = ()
    slices: SliceSpec | None = None
    tile: tuple[int, int] | None = None
    overlap: float = 0.0
    mixup: float | None = None
    cutmix: float | None = None
    calibration_method: Method = "none"
    weights_licence: str | None = None
    monitor: Monitor
    _parent: ParentCheckpoint | None = None

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        backbone_args: dict[str, Any] | None = None,
        weights: str | None = None,
        init: Scheme = "default",
        freeze: Literal["backbone"] | None = None,
        stem: Stem = "auto",
        drop_path: float = 0.0,
        grad_checkpointing: bool = False,
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
        early_stopping_median: int = 1,
        early_stopping_gain: float = 0.0,
        teacher: str | None = None,
        distill_alpha: float = 0.5,
        distill_temperature: float | None = None,
        distill_features: float = 0.0,
        prune: PruningMethod | None = None,
        prune_amount: float = 0.5,
        metrics: list[Any] | Part | None = None,
        monitor: str | None = None,
        num_classes: int = 2,
        class_names: Sequence[str] | None = None,
        in_channels: int = 3,
        input_size: Sequence[int] | None = None,
        preprocess: dict[str, Any] | None = None,
        normalize: str = "none",
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.unsaved))  # those of the subclass too
        self.hparams.update(as_paths(dict(self.hparams)))  # classes are kept by their paths
        backbone, backbone_args, weights = resolved(backbone, backbone_args, weights, init)
        self.hparams.update(backbone=backbone, backbone_args=backbone_args or None)
        weights = None if weights is None else checkpoint_in(weights)  # a run folder is its best checkpoint
        self.hparams.update(weights=weights)
        # What is wrong with a flag is said at start, not after the data have been read.
        self.optimization = OptimizerSettings(
            optimizer, optimizer_args or {}, lr, weight_decay, backbone_lr_factor, layer_decay
        )
        self.schedule = ScheduleSettings(schedule, schedule_args or {}, warmup)
        check_schedule(schedule, self.schedule.args, lr, warmup)
        self.averaging = AveragingSettings(ema, swa)
        self.averaging.check(self.schedule)
        within("early_stopping", early_stopping, "at least 1", early_stopping is None or early_stopping >= 1)
        within("early_stopping_median", early_stopping_median, "at least 1", early_stopping_median >= 1)
        within("early_stopping_gain", early_stopping_gain, "at least 0", early_stopping_gain >= 0)
        self.early_stopping, self.early_stopping_median = early_stopping, early_stopping_median
        self.early_stopping_gain = early_stopping_gain
        self.distillation = DistillationSettings(teacher, distill_alpha, distill_temperature, distill_features)
        self.pruning = PruningSettings(prune, prune_amount)
        self._asked_metrics, self._asked_monitor = metrics, monitor
        self.network = NetworkSettings(
            own_network(backbone),
            backbone_args,
            weights,
            init,
            freeze,
            unfreezing_epochs(unfreeze),
            stem,
            drop_path,
            in_channels,
            input_size,
            whole=prune is not None,
            grad_checkpointing=grad_checkpointing,
        )
        self.in_channels, self.num_classes = in_channels, num_classes
        self.input_size = None if input_size is None else (input_size[0], input_size[1])
        self.class_names = list(class_names or [str(number) for number in range(num_classes)])
        if isinstance(class_names, str) or len(set(self.class_names)) < len(self.class_names):
            raise SuiteError(f"class_names {class_names!r}: expected a list of different names")
        if len(self.class_names) != num_classes:
            raise SuiteError(f"{num_classes} classes, but {len(self.class_names)} class names")
        self.preprocess = Preprocess(channels=in_channels) if preprocess is None else Preprocess.from_dict(preprocess)
        self._normalisation: tuple[str, Statistics | None] = (normalize, statistics)
        self.operating_points: dict[str, float] = {}
        self.calibration: Calibration | None = None
        self.training_profile: str | None = None  # JSON, see tasks.evaluation.drift.profile
        self.plan: str | None = None  # JSON, see tasks.planning.plan

    def build_network(
        self, strides: Strides, *, classes: int | None = None, args: Mapping[str, Any] | None = None
    ) -> None:
        """Make ``self.normalize`` and ``self.backbone``.

        What was decided about the stem is kept in the hyperparameters, so that a checkpoint is built again in the same
        way.

        Args:
            strides: of the levels that the task reads; ``own``: each that the network has; None: the deepest alone.
            classes: of the network's own classifier; None: none.
            args: of the network that the task asks for; ``--model.backbone_args`` comes on top.
        """
        size = padded(self.input_size) if self.pads and self.input_size is not None else self.input_size
        with reading_once():
            stem = resolved_stem(self.network, self.small_stem_below)
            self.normalize = build_normalisation(self._normalisation[0], self.network, self._normalisation[1])
            self.backbone = build_backbone(
                self.network, stem, strides=strides, classes=classes, image_size=size, args=args or {}
            )
            self.parent_record = record_of_weights(self.network)
            self._parent = None if self.network.whole else read_parent(self.network.weights)
            self.weights_licence = licence_of(self.network)
        self.hparams.update(stem=stem)

    @abstractmethod
    def configure_metrics(self) -> Mapping[Stage, Metric]:
        """The metrics of each stage that has some."""

    def build_metrics(self) -> None:
        """Make ``self.metrics``, and let the user's choose the best checkpoint where that is asked for.

        It is built last: what a checkpoint in ``weights`` holds beside a backbone comes in here, where all parts are.
        """
        parent, self._parent = self._parent, None
        if parent is not None and parent.task == self.name:
            self.took_over(parent.made, head=go_on(self, parent, self.unlike_parent(parent.made)))
        self.metrics = nn.ModuleDict({f"{stage}_metrics": metric for stage, metric in self.configure_metrics().items()})
        own = build_own(self._asked_metrics, self.metric_arguments(), self._asked_monitor)
        self.metrics.update({f"{stage}_own": OwnMetrics(own, self.class_names) for stage in ("val", "test") if own})
        if self._asked_monitor is not None:
            self.monitor = self._asked_monitor, direction(own, self._asked_monitor)

    def unlike_parent(self, made: Mapping[str, Any]) -> str:
        """What the head of a model of this task that was made with these arguments says otherwise; empty: nothing."""
        names = made.get("class_names") or [str(number) for number in range(int(made.get("num_classes") or 2))]
        return "" if list(names) == self.class_names else "other classes"

    def took_over(self, made: Mapping[str, Any], *, head: bool) -> None:
        """Hear of a parent that was made with these arguments, and whether its head was taken over too."""

    def metric_arguments(self) -> dict[str, Any]:
        """Arguments that a metric of the user's gets where its constructor names them."""
        return {"num_classes": self.num_classes, "num_labels": self.num_classes, "class_names": self.class_names}

    def note_weights(self, weights: str | None) -> None:
        """Remember what the weights of a model that is built from its checkpoint once began with."""
        self.network = replace(self.network, weights=weights)
        if weights == "imagenet" and self.weights_licence is None:  # checkpoints of before say nothing of it
            self.weights_licence = licence_of(self.network)
        self.hparams.update(weights=weights)

    def features(self, image: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, F) that the head makes its output from, where :meth:`without_features` says so.

        Raises:
            NotImplementedError: the task has no such features.
        """
        raise NotImplementedError(f"{self.name} has no features of whole images")

    def without_features(self) -> str:
        """Why the task cannot be trained on features of whole images; empty where it can."""
        return f"{self.name} needs maps and not one vector of an image: leave it out"

    def wants_features(self) -> str:
        """What of it can be trained on features alone; empty where there is no such thing."""
        return ""

    @property
    def fits_head(self) -> bool:
        """Whether its head is fitted to features at once, without steps of training."""
        return False

    def fit_on_features(self, data: ScanDataModule) -> None:
        """Fit the head to the features of a data module, where :attr:`fits_head` says so."""

    def set_lr(self, lr: float) -> None:
        """Train at another learning rate than was given."""
        self.optimization = replace(self.optimization, lr=lr)
        self.hparams.update(lr=lr)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, a schedule that moves each step, and one that moves each epoch by the metric."""
        unfreezes = self.network.unfreeze is not None
        return configured(self, self.backbone, self.optimization, self.schedule, self.monitor, unfreezes=unfreezes)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the backbone's authors exempt from weight decay (position embeddings and the like)."""
        exempt = getattr(self.backbone.net, "no_weight_decay", None)
        return {f"backbone.{name}" for name in exempt()} if exempt is not None else set()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint which task made it, how its scores are calibrated, and at which it calls."""
        checkpoint["scansuite"] = {"task": self.name, "operating_points": self.operating_points}
        if self.weights_licence is not None:
            checkpoint["scansuite"]["weights_licence"] = self.weights_licence
        if self.calibration is not None:
            checkpoint["scansuite"]["calibration"] = self.calibration.to_dict()
        if self.pruned_sizes:
            checkpoint["scansuite"]["sizes"] = self.pruned_sizes
        if self.provenance is not None:
            checkpoint["scansuite"]["provenance"] = self.provenance.to_plain()
        if self.training_profile is not None:
            checkpoint["scansuite"]["training_profile"] = self.training_profile
        if self.plan is not None:
            checkpoint["scansuite"]["plan"] = self.plan

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what was chosen, what was seen, and the sizes of pruned layers before their weights come."""
        made = checkpoint.get("scansuite", {})
        self.operating_points = dict(made.get("operating_points", {}))
        self.weights_licence = made.get("weights_licence", self.weights_licence)
        calibration = made.get("calibration")
        self.calibration = None if calibration is None else Calibration.from_dict(calibration)
        self.training_profile = made.get("training_profile")
        self.plan = made.get("plan", self.plan)
        self.pruned_sizes = made.get("sizes", {})
        resize(self, self.pruned_sizes)
        if "provenance" in made:  # beside what a run that goes on has noted already
            self.provenance = joined(self.provenance, Provenance.from_plain(made["provenance"]))
