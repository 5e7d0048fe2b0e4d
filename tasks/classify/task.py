"""The classification task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from backbones.initialisation import Scheme
from datamodules.types import Batch
from datamodules.useless import Useless
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.classify.distillation import imitation
from tasks.classify.losses import ClassificationLoss, LossName, balanced_class_weights
from tasks.classify.metrics import ClassificationMetrics
from tasks.classify.pooling import AggregateName, AttentionPooling, LogitPooling
from tasks.classify.rows import case_rows
from tasks.classify.scores import probabilities
from tasks.links import Link, joins

_IMAGES_AT_ONCE = 32  # of a case, where no gradient is asked for

_OF_ATTENTION = "it is of --model.aggregate attention"


class ClassificationTask(Task):
    """One target a case: binary, multiclass, multilabel, ordinal or regression.

    Args:
        backbone: any timm network.
        backbone_args: further arguments of the network, as timm takes them (``drop_path_rate``, ...).
        weights: ``imagenet``, a checkpoint of any task, or a ``.pth`` or ``.safetensors`` file; left out: from scratch.
        init: draw the backbone's weights anew by ``kaiming``, ``xavier``, ``normal``, ``truncated_normal`` or
            ``orthogonal``; ``default`` is the network's own scheme.
        freeze: ``backbone`` trains the head alone (feature extraction).
        stem: ``small`` is 3x3 without pooling; ``auto`` takes it for images under 64 px trained from scratch.
        head: ``pool`` (global average pooling), ``mlp``, ``flatten``, or ``native``, the network's own classifier.
        dropout: before the head's linear layers.
        hidden: width of the hidden layer of the ``mlp`` head.
        aggregate: how a case with many images is judged: ``none`` takes each image for itself; ``mean``, ``max`` and
            ``topk`` average all, the one highest or a share of the images' scores; ``attention`` weighs their features.
        topk: share of a case's images that ``topk`` averages.
        attention_hidden: width of the hidden layer that ``attention`` weighs with.
        attention_gated: with a gate (Ilse, Tomczak and Welling 2018, equation 9).
        loss: ``auto`` is cross-entropy, the rank-consistent ordinal loss, or MSE, by the kind of target.
        class_weights: ``balanced``, or one number a class.
        label_smoothing: share of the target spread over all classes.
        focal_gamma: focusing exponent of the focal loss.
        mixup: of Beta(a, a) from which the weight is drawn, with which training images are mixed in pairs, such as 0.2.
        cutmix: likewise for a box of one image laid into another; with ``mixup`` each is taken for half of the batches.
        num_classes: from the data.
        in_channels: from the data.
        class_names: from the data.
        target: kind of target, from the data.
        positive_class: of a binary target, from the data.
        class_counts: training cases of each class, from the data.
        known_counts: training cases of which each class or label is known, from the data.
        input_size: (H, W), from the data.
        preprocess: how stored values become the model's input, from the data; kept for predict and export.
        slices: how volumes are cut, from the data; kept for predict.
        bag_limit: most images of a case that are judged, from the data.
        normalize: see ``--data.normalize``.
        statistics: mean and deviation of the training images, from the data.
        kwargs: see :class:`~tasks.base.Task`.
    """

    name: ClassVar[str] = "classify"
    temperature: ClassVar[float] = 4.0
    facts: ClassVar[tuple[str, ...]] = (
        *Task.facts, "num_classes", "class_names", "target", "positive_class", "class_counts", "known_counts", "slices",
        "bag_limit",
    )  # fmt: skip
    links: ClassVar[tuple[Link, ...]] = (*Task.links, Link("aggregate", "bags", joins))

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("hidden", "it is of --model.head mlp", "head", lambda head: head != "mlp"),
        Useless("topk", "it is of --model.aggregate topk", "aggregate", lambda name: name != "topk"),
        Useless("attention_hidden", _OF_ATTENTION, "aggregate", lambda name: name != "attention"),
        Useless("attention_gated", _OF_ATTENTION, "aggregate", lambda name: name != "attention"),
        Useless("focal_gamma", "it is of --model.loss focal", "loss", lambda loss: loss != "focal"),
    )

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        backbone_args: dict[str, Any] | None = None,
        weights: str | None = None,
        init: Scheme = "default",
        freeze: Literal["backbone"] | None = None,
        stem: Literal["auto", "standard", "small"] = "auto",
        head: Literal["pool", "mlp", "flatten", "native"] = "pool",
        dropout: float = 0.0,
        hidden: int = 256,
        aggregate: AggregateName = "none",
        topk: float = 0.1,
        attention_hidden: int = 128,
        attention_gated: bool = False,
        loss: LossName = "auto",
        class_weights: Literal["balanced"] | list[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        mixup: float | None = None,
        cutmix: float | None = None,
        num_classes: int = 2,
        in_channels: int = 3,
        class_names: Sequence[str] | None = None,
        target: Literal["binary", "multiclass", "multilabel", "ordinal", "regression"] | None = None,
        positive_class: str | None = None,
        class_counts: Sequence[float] | None = None,
        known_counts: Sequence[float] | None = None,
        input_size: Sequence[int] | None = None,
        preprocess: dict[str, Any] | None = None,
        slices: dict[str, Any] | None = None,
        bag_limit: int | None = None,
        normalize: str = "none",
        statistics: tuple[list[float], list[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target = target or ("binary" if num_classes == 2 else "multiclass")
        self.class_names = list(class_names or [str(number) for number in range(num_classes)])
        if len(self.class_names) != num_classes:
            raise SuiteError(f"{num_classes} classes, but {len(self.class_names)} class names")
        self.positive_class = positive_class or (self.class_names[-1] if self.target == "binary" else None)
        self.monitor = ("mae", "min") if self.target == "regression" else ("auroc", "max")

        if head == "native" and freeze == "backbone":
            raise SuiteError(
                "--model.freeze backbone: with --model.head native nothing is left to train: take another head"
            )
        if head == "native" and aggregate == "attention":
            raise SuiteError(
                "--model.aggregate attention: with --model.head native there are no features to weigh: take head pool, "
                "or aggregate mean, max or topk"
            )
        if label_smoothing and self.target == "regression":
            raise SuiteError("--model.label_smoothing: a regression target has no classes to smooth")
        for flag, value in (("mixup", mixup), ("cutmix", cutmix)):
            if value is not None and value < 0:
                raise SuiteError(f"--model.{flag} {value}: must be at least 0")
            if value and aggregate != "none":
                raise SuiteError(
                    f"--model.{flag} {value}: with --model.aggregate {aggregate} a label belongs to many images, which "
                    "are not mixed: leave it out"
                )
        if not 0 <= dropout < 1:
            raise SuiteError(f"--model.dropout {dropout}: must be at least 0 and below 1")
        given = self._weights_by_class(class_weights, class_counts, known_counts)
        self.criterion = ClassificationLoss(self.target, loss, given, label_smoothing, focal_gamma)
        outputs = num_classes - 1 if self.criterion.name == "ordinal" else num_classes
        self.build_normalisation(normalize, backbone, weights=weights, in_channels=in_channels, statistics=statistics)
        self.build_backbone(
            backbone,
            weights=weights,
            init=init,
            freeze=freeze,
            stem=stem,
            in_channels=in_channels,
            input_size=input_size,
            strides=None,
            classes=outputs if head == "native" else None,
            args={"dropout": dropout, **(backbone_args or {})} if head == "native" else backbone_args,
        )
        self.head = self._build_head(head, outputs, input_size, dropout, hidden)
        positive = self.class_names.index(self.positive_class) if self.positive_class is not None else 1
        self.aggregate = aggregate
        self.attention: AttentionPooling | None = None
        self.pooling: LogitPooling | None = None
        if aggregate == "attention" and self.head is not None:
            self.attention = AttentionPooling(self.head.width, attention_hidden, attention_gated)
        elif aggregate != "none":
            self.pooling = LogitPooling(aggregate, topk, self.target, positive)
        self.metrics = nn.ModuleDict(
            {
                f"{stage}_metrics": ClassificationMetrics(self.target, num_classes, positive)
                for stage in ("train", "val", "test")
            }
        )

    def _weights_by_class(
        self,
        asked: Literal["balanced"] | list[float] | None,
        counts: Sequence[float] | None,
        known: Sequence[float] | None,
    ) -> list[float] | None:
        if asked is None or isinstance(asked, list):
            if asked is not None and len(asked) != len(self.class_names):
                raise SuiteError(
                    f"--model.class_weights: {len(asked)} numbers for {len(self.class_names)} classes "
                    f"({', '.join(self.class_names)})"
                )
            return asked
        if self.target == "regression":
            raise SuiteError("--model.class_weights balanced: a regression target has no classes")
        if not counts or not known:
            raise SuiteError("--model.class_weights balanced: the data module says no class counts; give the weights")
        return balanced_class_weights(self.target, counts, known)

    def _build_head(
        self, name: str, outputs: int, input_size: Sequence[int] | None, dropout: float, hidden: int
    ) -> Any:
        """A :class:`~tasks.classify.heads.Head`, or None; its module brings timm, which the help does without."""
        if name == "native":
            return None
        from tasks.classify.heads import Head, needs_norm

        grid = None
        if name == "flatten" and input_size:
            with torch.no_grad():
                self.backbone.eval()
                probe = torch.zeros(1, self.backbone.in_channels, input_size[0], input_size[1])
                height, width = self.backbone(probe)[-1].shape[-2:]
                self.backbone.train()
            grid = (height, width)
        return Head(
            name,  # type: ignore[arg-type]
            self.backbone.channels[-1],
            outputs,
            dropout=dropout,
            hidden=hidden,
            grid=grid,
            norm=needs_norm(self.backbone),
        )

    def forward(self, image: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Logits of images, or of cases with several images.

        Args:
            image: (N, C, H, W) in [0, 1].
            sizes: of the N images how many belong to each case, in order; left out: each is judged for itself.

        Returns:
            (N, outputs), or (B, outputs) of as many cases as there are ``sizes``.
        """
        return self.weighed(image, sizes)[0]

    def weighed(self, image: Tensor, sizes: Sequence[int] | None = None) -> tuple[Tensor, Tensor | None]:
        """What :meth:`forward` gives, and the (N,) weights of the images where ``attention`` weighs them."""
        if torch.is_grad_enabled() or sizes is None:
            output = self._of_images(image)
        else:  # a case may have hundreds of images; in training their number is chosen
            output = torch.cat([self._of_images(some) for some in torch.split(image, _IMAGES_AT_ONCE)])
        if sizes is not None and self.pooling is not None:
            return self.pooling(output, sizes), None
        if self.attention is None or self.head is None:
            return output, None
        if sizes is None:
            return self.head.classify(output), None
        features, weights = self.attention(output, sizes)
        return self.head.classify(features), weights

    def _of_images(self, image: Tensor) -> Tensor:
        """Features of images where ``attention`` weighs them, else logits."""
        image = self.normalize(image)
        if self.head is None:
            return self.backbone.forward_native(image)
        features: Tensor = self.head.features(self.backbone(image))
        if self.attention is not None:
            return features
        logits: Tensor = self.head.classify(features)
        return logits

    def further_inputs(self, batch: Batch) -> tuple[Any, ...]:
        """How many images each case has, where a batch holds bags."""
        return ([len(bag) for bag in batch["bags"]],) if "bags" in batch else ()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Output and cases of a batch without targets, and ``weights`` of the images where they are weighed."""
        if self.attention is None or not batch.get("bags"):
            return super().predict_step(batch, batch_idx)
        output, weights = self.weighed(batch["image"], *self.further_inputs(batch))
        return {"output": output, "batch": batch, "weights": weights}

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """() loss of the batch in float32; of images mixed in pairs that of the mixed target."""
        loss: Tensor = self.criterion(output, batch["label"])
        if "label_other" in batch:
            share = batch["label_share"][0]
            loss = share * loss + (1 - share) * self.criterion(output, batch["label_other"])
        return loss

    def imitation(self, output: Tensor, wanted: Tensor, batch: Batch, teacher: Any, temperature: float) -> Tensor:
        """() divergence from the teacher's (B, outputs); a teacher has seen the same mixed images."""
        ordinal = self.criterion.name == "ordinal"
        return imitation(output, wanted, self.target, ordinal=ordinal, temperature=temperature)

    def unlike(self, teacher: Any) -> str:
        """See :meth:`~tasks.compression.compressible.Compressible.unlike`."""
        if self.target != teacher.target:
            return f"it was trained on a {teacher.target} target, and this one is {self.target}"
        if (self.criterion.name == "ordinal") != (teacher.criterion.name == "ordinal"):
            return "one has the outputs of the ordinal loss and the other has not: take the same --model.loss"
        if (self.aggregate == "none") != (teacher.aggregate == "none"):
            return "one judges images and the other cases of many images: see --model.aggregate"
        return super().unlike(teacher)

    def output_layers(self) -> list[nn.Module]:
        """The linear layer of the head, or the network's own classifier; and what weighs images."""
        if self.head is None:
            classifier: Any = self.backbone.net.get_classifier()
            return list(classifier) if isinstance(classifier, (tuple, list)) else [classifier]
        return [self.head.linear]

    def trial_inputs(self, images: int = 2) -> tuple[Any, ...]:
        """Images for themselves, or one case of all of them (:meth:`~.compressible.Compressible.trial_inputs`)."""
        return (*super().trial_inputs(images), *(() if self.aggregate == "none" else ([images],)))

    def scores(self, output: Tensor) -> Tensor:
        """(B, outputs) logits -> (B, C) float64 probabilities; (B, 1) numbers for regression."""
        return probabilities(output, self.target, ordinal=self.criterion.name == "ordinal")

    def update_metrics(self, metric: Metric, output: Tensor, batch: Batch) -> None:
        """Show scores and labels to the metrics of a stage."""
        metric.update(self.scores(output), batch["label"])

    def rows(self, output: Tensor, batch: Batch) -> dict[str, list[Any]]:
        """Columns for the cases of a batch."""
        return case_rows(self.scores(output), batch, self.target, self.class_names)
