"""The classification task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from datamodules.base import ScanDataModule
from datamodules.samples.slices import SliceSpec
from datamodules.types import Batch
from datamodules.useless import Useless
from scansuite.own_parts import Part, is_path
from tasks.base import Task
from tasks.batches import count_cases
from tasks.classify.building import build_attention, build_head, build_loss
from tasks.classify.checks import check_flags, unfit_for_features
from tasks.classify.distillation import imitation, unlike
from tasks.classify.head_names import FITTED, ONLY_FITTED, READ_ALL, HeadName
from tasks.classify.heads import Head
from tasks.classify.losses import LossName, weights_by_class
from tasks.classify.mc_dropout import check_passes, several
from tasks.classify.metrics import ClassificationMetrics
from tasks.classify.pooling import AggregateName, LogitPooling
from tasks.classify.remembered import Remembering
from tasks.classify.rows import case_rows
from tasks.classify.scores import calibrated, for_torchmetrics, probabilities
from tasks.classify.target_unit import TargetUnit
from tasks.classify.targets import Target, target_of
from tasks.classify.tta import averaged
from tasks.classify.tta_chosen import fit_with_views
from tasks.evaluation.calibration.calibration import Method, read_method
from tasks.evaluation.operating_rules import YOUDEN, read_rule
from tasks.own.loader_batches import check_classes, check_shape
from tasks.own.parts import OwnPart
from tasks.predictor import PartialOutput, StepOutput
from tasks.registry.links import Link, joins
from tasks.steps import Stage
from tasks.views import Tta, TtaOrAuto, check_mirrors

_IMAGES_AT_ONCE = 32  # of a case, where no gradient is asked for

_OF_ATTENTION = "it is of --model.aggregate attention"


class ClassificationTask(Task):
    """One target a case: binary, multiclass, multilabel, ordinal or regression.

    Args:
        head: ``pool`` (global average pooling), ``levels`` (mean and deviation of the feature maps of all strides),
            ``mlp``, ``flatten``, or ``native``, the network's own classifier; ``kernel`` and ``knn`` ask the training
            images that are alike, by a fit or by votes (docs/frozen_features.md); or the dotted path of one of your own
            (docs/extending.md).
        head_args: arguments of a head of your own; left out: none.
        dropout: chance (0 to 1) of dropping a feature before the head's linear layers, in training.
        mc_dropout: passes with dropout at work whose mean is evaluated and predicted; how far they are apart stands in
            column ``uncertainty`` (Gal and Ghahramani 2016); left out: one pass without.
        hidden: width of the hidden layer of the ``mlp`` head, in features.
        l2: factor of half the squared weights of a head that is fitted to kept features (docs/frozen_features.md); left
            out: chosen on validation, and of ``kernel`` on folds.
        neighbours: training images that ``knn`` asks.
        aggregate: how a case with many images is evaluated: ``none`` takes each image for itself; ``mean``, ``max`` and
            ``topk`` average all, the one highest or a share of the images' scores; ``attention`` weighs their features.
        topk: share (0 to 1) of a case's images that ``topk`` averages.
        attention_hidden: width of the hidden layer that ``attention`` weighs with, in features.
        attention_gated: weigh with a gate (Ilse, Tomczak and Welling 2018, equation 9).
        loss: ``auto`` is cross-entropy, the rank-consistent ordinal loss, or MSE, by the kind of target; or the dotted
            path of one of your own or of torch (docs/extending.md).
        loss_args: arguments of a loss of your own or of torch; left out: none.
        class_weights: weights of the classes in the loss: ``balanced`` (by their number of training cases), or one
            number a class; left out: all alike.
        label_smoothing: share (0 to 1) of the target spread over all classes.
        focal_gamma: focusing exponent of the focal loss; 0 is cross-entropy.
        mixup: a of Beta(a, a), from which the weight is drawn with which training images are mixed in pairs, such as
            0.2; left out: they are not.
        cutmix: a of Beta(a, a), from which the share is drawn that a box of one training image has when it is laid into
            another, such as 1; with ``mixup`` each is taken for half of the batches; left out: none is.
        operating_point: rule by which the score is chosen, on validation, from which a binary target or a label is
            called: ``youden``, ``f1``, ``sensitivity>=0.95``, ``specificity>=0.9``, ``precision>=0.8`` or ``cost 1:10``
            (a false call : a missed finding), with numbers of your own.
        calibration: method by which scores become shares of cases, fitted on validation before the operating point is
            chosen, and kept in the checkpoint (docs/calibration.md).
        tta: test-time augmentation: ``none``; ``mirror``, where the head sees the mean of the features of the image and
            of its left-right mirror image; ``flips``, that of four mirror images; not where classes have sides. Where a
            head is fitted to kept features, ``auto`` takes ``mirror`` if that says more of held-out cases.
        target: kind of target, from the data.
        positive_class: of a binary target, from the data.
        class_counts: training cases of each class, from the data.
        known_counts: training cases of which each class or label is known, from the data.
        slices: how volumes are cut, from the data; kept for predict.
        bag_limit: most images of a case that are evaluated, from the data.
        has_sides: whether a mirrored image may show another class, from the data; None in models that were trained
            before this was asked.
        target_statistics: mean and standard deviation of the training numbers of a regression target, from the data:
            the head gives how many deviations a case is off the mean. None: it gives numbers as they are.
        kwargs: network, training and further facts of the data; see :class:`~tasks.base.Task`.
    """

    name: ClassVar[str] = "classify"
    targets: ClassVar[tuple[str, ...]] = ("label",)
    temperature: ClassVar[float] = 4.0
    facts: ClassVar[tuple[str, ...]] = (
        *Task.facts, "target", "positive_class", "class_counts", "known_counts", "slices", "bag_limit", "has_sides",
        "target_statistics",
    )  # fmt: skip
    links: ClassVar[tuple[Link, ...]] = (*Task.links, Link("aggregate", "bags", joins))
    small_stem_below: ClassVar[int] = 64
    own_parts: ClassVar[tuple[OwnPart, ...]] = (
        OwnPart("head", ("channels", "outputs", "dropout", "grid")),
        OwnPart("loss", ("num_classes", "target")),
    )

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("hidden", "it is of --model.head mlp", "head", lambda head: head != "mlp"),
        Useless("neighbours", "it is of --model.head knn", "head", lambda head: head != "knn"),
        Useless("head_args", "they are of a head of your own", "head", lambda head: not is_path(head)),
        Useless("loss_args", "they are of a loss of your own", "loss", lambda loss: not is_path(loss)),
        Useless("topk", "it is of --model.aggregate topk", "aggregate", lambda name: name != "topk"),
        Useless("attention_hidden", _OF_ATTENTION, "aggregate", lambda name: name != "attention"),
        Useless("attention_gated", _OF_ATTENTION, "aggregate", lambda name: name != "attention"),
        Useless("focal_gamma", "it is of --model.loss focal", "loss", lambda loss: loss != "focal"),
    )

    def __init__(
        self,
        *args: Any,
        head: HeadName | Part = "pool",
        head_args: dict[str, Any] | None = None,
        dropout: float = 0.0,
        mc_dropout: int | None = None,
        hidden: int = 256,
        l2: float | None = None,
        neighbours: int = 20,
        aggregate: AggregateName = "none",
        topk: float = 0.1,
        attention_hidden: int = 128,
        attention_gated: bool = False,
        loss: LossName | Part = "auto",
        loss_args: dict[str, Any] | None = None,
        class_weights: Literal["balanced"] | list[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        mixup: float | None = None,
        cutmix: float | None = None,
        operating_point: str = YOUDEN.text,
        calibration: Method = "none",
        tta: TtaOrAuto = "none",
        target: Target | None = None,
        positive_class: str | None = None,
        class_counts: Sequence[float] | None = None,
        known_counts: Sequence[float] | None = None,
        slices: dict[str, Any] | None = None,
        bag_limit: int | None = None,
        has_sides: bool | None = None,
        target_statistics: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.target: Target = target or target_of(self.num_classes)
        self.positive_class = positive_class or (self.class_names[-1] if self.target == "binary" else None)
        self.monitor = ("mae", "min") if self.target == "regression" else ("auroc", "max")
        self.aggregate, self.bag_limit = aggregate, bag_limit
        self.head_name, self.l2, self.neighbours = head, l2, neighbours
        self.slices = None if slices is None else SliceSpec.from_dict(slices)
        self.mixup, self.cutmix = mixup, cutmix
        self.tta: TtaOrAuto = tta
        check_mirrors(tta, self.class_names, has_sides)
        self.operating_rule = read_rule(operating_point, "cases")
        self.calibration_method = read_method(calibration)
        check_flags(self, head, dropout, label_smoothing)

        given = weights_by_class(class_weights, self.target, self.class_names, class_counts, known_counts)
        self.unit = TargetUnit(self.target, target_statistics, spoken=head in ONLY_FITTED)
        self.criterion = build_loss(self, loss, loss_args, given, label_smoothing, focal_gamma)
        outputs = self.num_classes - 1 if self.criterion.name == "ordinal" else self.num_classes
        native = head == "native"
        self.build_network(
            "own" if head in READ_ALL else None,
            classes=outputs if native else None,
            args={"dropout": dropout} if native else None,
        )
        self.head = build_head(self, head, head_args, outputs, dropout, hidden)
        self.attention = build_attention(self, attention_hidden, attention_gated)
        self.pooling: LogitPooling | None = None
        if aggregate not in ("none", "attention"):
            self.pooling = LogitPooling(aggregate, topk, self.target, self._positive)
        self.mc_dropout = mc_dropout
        check_passes(self, mc_dropout)
        self.build_metrics()

    def kind(self) -> str:
        """The kind of target, and how the images of a case are put together."""
        return self.target if self.aggregate == "none" else f"{self.target}, {self.aggregate} of a case's images"

    def unlike_parent(self, made: Mapping[str, Any]) -> str:
        """See :meth:`~tasks.base.Task.unlike_parent`; logits of another kind of target say something else."""
        same = (made.get("target") or target_of(len(self.class_names))) == self.target
        return super().unlike_parent(made) or ("" if same else "another kind of target")

    def took_over(self, made: Mapping[str, Any], *, head: bool) -> None:
        """The head that was taken over keeps its unit; the network's own classifier comes with the network."""
        if head or (self.head is None and made.get("head") == "native" and made.get("target") == "regression"):
            self._take_unit(made)

    def _take_unit(self, made: Mapping[str, Any]) -> None:
        """Mean and spread of the targets of a model that was made so; of earlier versions none."""
        self.unit.take(made.get("target_statistics"))
        self.hparams.update(target_statistics=made.get("target_statistics"))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back the unit of the targets too: weights mean nothing in another one."""
        super().on_load_checkpoint(checkpoint)
        if "hyper_parameters" in checkpoint:
            self._take_unit(checkpoint["hyper_parameters"])

    @property
    def _positive(self) -> int:
        """Number of the positive class."""
        return self.class_names.index(self.positive_class) if self.positive_class is not None else 1

    def configure_metrics(self) -> dict[Stage, Metric]:
        """Those of classification or regression, in all stages."""
        make = ClassificationMetrics
        return {stage: make(self.target, self.num_classes, self._positive) for stage in ("train", "val", "test")}

    def forward(self, image: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Logits of images, or of cases with several images.

        Args:
            image: (N, C, H, W) in [0, 1].
            sizes: of the N images how many belong to each case, in order; left out: each is evaluated for itself.

        Returns:
            (N, outputs), or (B, outputs) of as many cases as there are ``sizes``.
        """
        return self.weighed(image, sizes)[0]

    def weighed(self, image: Tensor, sizes: Sequence[int] | None = None) -> tuple[Tensor, Tensor | None]:
        """What :meth:`forward` gives, and the (N,) weights of the images where ``attention`` weighs them."""
        if torch.is_grad_enabled() or sizes is None:
            output = self.of_images(image)
        else:  # a case may have hundreds of images; in training their number is chosen
            output = torch.cat([self.of_images(some) for some in torch.split(image, _IMAGES_AT_ONCE)])
        return self.of_cases(output, sizes)

    def of_cases(self, output: Tensor, sizes: Sequence[int] | None) -> tuple[Tensor, Tensor | None]:
        """What :meth:`weighed` gives, from what :meth:`of_images` gives."""
        if sizes is not None and self.pooling is not None:
            return self.pooling(output, sizes), None
        if self.attention is None or self.head is None:
            return output, None
        if sizes is None:
            return self.unit(self.head.classify(output)), None
        features, weights = self.attention(output, sizes)
        return self.unit(self.head.classify(features)), weights

    def of_images(self, image: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1], or (N, F) features -> (N, F) where ``attention`` weighs them, else logits."""
        if self.head is None:
            said = averaged(lambda view: self.backbone.forward_native(self.normalize(view)), image, self.views)
            return self.unit(said)
        # What has no height is features already, of ``--data.cache features``.
        features = image if image.ndim == 2 else averaged(self._features_of_view, image, self.views)
        if self.attention is not None:
            return features
        return self.unit(self.head.classify(features))

    def features(self, image: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, F) that the head classifies in evaluation; it is not the network's own.

        While ``tta`` is to be chosen, (N, 2 F): of the image, and of its mirror image.
        """
        if self.tta == "auto":
            return torch.cat([self._features_of_view(view) for view in (image, image.flip(-1))], dim=1)
        return averaged(self._features_of_view, image, self.tta)

    def _features_of_view(self, image: Tensor) -> Tensor:
        assert self.head is not None
        features: Tensor = self.head.features(self.backbone(self.normalize(image)))
        return features

    @property
    def views(self) -> Tta:
        """Over which images are averaged now: training, and the validation of its epochs, see one view at a time."""
        return "none" if self.training or self.fitting or self.tta == "auto" else self.tta

    @property
    def feature_width(self) -> int | None:
        """Length of :meth:`features`, which it takes in place of images; None: it takes images alone."""
        return self.head.width if isinstance(self.head, (Head, Remembering)) else None

    def without_features(self) -> str:
        """See :meth:`~tasks.base.Task.without_features`."""
        return unfit_for_features(self)

    def wants_features(self) -> str:
        """Heads that nothing trains, of neighbours and of kernels; and views that are chosen with a fit."""
        if self.head_name in ONLY_FITTED:
            return f"--model.head {self.head_name} compares features that are kept"
        return (
            "--model.tta auto is chosen where a head is fitted to features that are kept" if self.tta == "auto" else ""
        )

    @property
    def fits_head(self) -> bool:
        """Linear heads and neighbours are fitted, the others trained."""
        return self.head_name in FITTED

    def fit_on_features(self, data: ScanDataModule) -> None:
        """Fit the head, and choose the views that it sees."""
        fit_with_views(self, data)

    def further_inputs(self, batch: Batch) -> tuple[Any, ...]:
        """How many images each case has, where a batch holds bags."""
        return ([len(bag) for bag in batch["bags"]],) if "bags" in batch else ()

    def predict_step(self, batch: Batch, batch_idx: int) -> StepOutput[Tensor]:
        """Output and cases of a batch without targets, and ``weights`` of the images where they are weighed."""
        if self.attention is None or not batch.get("bags"):
            return super().predict_step(batch, batch_idx)
        output, weights = self.weighed(batch["image"], *self.further_inputs(batch))
        return self.told({"output": output, "batch": batch, "weights": weights})

    def told(self, said: StepOutput[Tensor]) -> StepOutput[Tensor]:
        """See :meth:`~tasks.steps.Steps.told`; of several passes their mean, and how far they are apart."""
        return super().told(several(self, said))

    def validation_step(self, batch: Batch, batch_idx: int) -> StepOutput[Tensor]:
        """Output and cases of a validation batch, without padding; of several passes once training is over."""
        return several(self, super().validation_step(batch, batch_idx))

    def test_step(self, batch: Batch, batch_idx: int) -> StepOutput[Tensor]:
        """Output and cases of a test batch, without padding, as in validation."""
        return several(self, super().test_step(batch, batch_idx))

    def meaning(self, output: Tensor, batch: Batch) -> PartialOutput:
        """``scores`` (B, C) float64, calibrated where the model is."""
        return {"scores": calibrated(self.scores(output), self.calibration)}

    def check_targets(self, batch: Batch, *, values: bool) -> None:
        """See that labels are (B,) class numbers or numbers, or (B, L) of 0, 1 and NaN."""
        label, cases = batch["label"], count_cases(batch)
        if self.target in ("multilabel", "regression"):
            check_shape("label", label, (cases, self.num_classes) if self.target == "multilabel" else (cases,))
        else:
            check_classes("label", label, (cases,), self.num_classes, look=values)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """() loss of the batch in float32; of images mixed in pairs that of the mixed target."""
        loss: Tensor = self.criterion(output, batch["label"])
        if "label_other" in batch:
            shares = batch["label_share"]
            share = shares[0] if len(shares) else shares.new_tensor(1.0)  # a rank with padding alone has none
            loss = share * loss + (1 - share) * self.criterion(output, batch["label_other"])
        return loss

    def imitation(self, output: Tensor, wanted: Tensor, batch: Batch, teacher: Self, temperature: float) -> Tensor:
        """() divergence from the teacher's (B, outputs); a teacher has seen the same mixed images."""
        ordinal = self.criterion.name == "ordinal"
        spread = self.unit.spread
        return imitation(output, wanted, self.target, ordinal=ordinal, temperature=temperature, spread=spread)

    def unlike(self, teacher: Self) -> str:
        """See :meth:`~tasks.compression.compressible.Compressible.unlike`."""
        return unlike(self, teacher) or super().unlike(teacher)

    def output_layers(self) -> list[nn.Module]:
        """The linear layer of the head, or the network's own classifier; and what weighs images."""
        if self.head is None:
            classifier: nn.Module | list[nn.Module] | tuple[nn.Module, ...] = self.backbone.net.get_classifier()
            return list(classifier) if isinstance(classifier, (tuple, list)) else [classifier]
        return self.head.output_layers()

    def trial_inputs(self, images: int = 2) -> tuple[Any, ...]:
        """Images for themselves, or one case of all of them (:meth:`~.compressible.Compressible.trial_inputs`)."""
        return (*super().trial_inputs(images), *(() if self.aggregate == "none" else ([images],)))

    def scores(self, output: Tensor) -> Tensor:
        """(B, outputs) logits -> (B, C) float64 probabilities; (B, 1) numbers for regression."""
        return probabilities(output, self.target, ordinal=self.criterion.name == "ordinal")

    def update_metrics(self, metric: Metric, output: Tensor, batch: Batch) -> None:
        """Show scores and labels to the metrics of a stage."""
        metric.update(self.scores(output), batch["label"])

    def metric_inputs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """See :func:`~tasks.classify.scores.for_torchmetrics`."""
        return for_torchmetrics(self.scores(output).float(), batch["label"], self.target, self._positive)

    def metric_arguments(self) -> dict[str, Any]:
        """With the mark of unknown labels, where there may be some."""
        return {**super().metric_arguments(), **({"ignore_index": -1} if self.target == "multilabel" else {})}

    def rows(self, output: Tensor, batch: Batch) -> dict[str, list[Any]]:
        """Columns for the cases of a batch."""
        return case_rows(self.scores(output), batch, self.target, self.class_names)
