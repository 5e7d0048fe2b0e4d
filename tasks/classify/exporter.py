"""Export of classifiers: their graphs, and what an exported file says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tasks.classify.heads import Head
from tasks.classify.task import ClassificationTask
from tasks.classify.tta import averaged, flipped_back, mean_of, views_of
from tasks.export.exporter import Exporter
from tasks.export.feeding import RunnableExport, Said, run_model
from tasks.export.graph import Levels
from tasks.export.tally import Tally
from tasks.exported.description import Member


class ClassifierGraph(nn.Module):
    """A classifier as it is exported: logits by image, or of one case whose images it weighs.

    Args:
        model: trained.
    """

    def __init__(self, model: ClassificationTask) -> None:
        super().__init__()
        self.normalize, self.backbone, self.head = model.normalize, Levels(model.backbone), model.head
        self.unit, self.attention = model.unit, model.attention
        self.maps, self.tta = maps_classes(model), model.eval().views

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) in [0, 1] -> (B, K) logits and, where there are some, (B, K, h, w) class activation maps.

        Where images are weighed the B images are one case's: (1, K), and (B,) weights.
        """
        if self.head is None:
            said = averaged(lambda view: self.backbone.native(self.normalize(view)), image, self.tta)
            return (self.unit(said),)
        levels = [self.backbone(self.normalize(view)) for view in views_of(image, self.tta)]
        features = mean_of([self.head.features(level) for level in levels])
        further: tuple[Tensor, ...] = ()
        if self.attention is not None:
            weights = self.attention.weigh(features)
            features = (weights[:, None] * features).sum(dim=0, keepdim=True)
            further = (weights,)
        logits = self.unit(self.head.classify(features))
        if self.maps:
            assert isinstance(self.head, Head)
            weight = self.head.linear.weight[:, :, None, None]
            weight = weight if self.unit.factor == 1 else weight * self.unit.factor
            maps = [F.conv2d(self.head.norm(level[-1]), weight) for level in levels]
            further = (*further, flipped_back(maps, self.tta))
        return (logits, *further)


def maps_classes(model: ClassificationTask) -> bool:
    """Whether the head is one linear layer on average-pooled features.

    Then its weights map each class over the image (Zhou et al., Learning Deep Features for Discriminative Localization,
    CVPR 2016).
    """
    head = model.head
    return isinstance(head, Head) and isinstance(head.hidden, nn.Identity) and not isinstance(head.pool, nn.Identity)


class ClassificationExporter(Exporter[ClassificationTask]):
    """Export of a classifier; see :class:`~tasks.export.exporter.Exporter`."""

    answers: ClassVar[str] = "of_images"  # what puts the images of a case together comes after it

    def unfit(self, member: ClassificationTask) -> str:
        """Several passes with dropout at work are no graph."""
        if member.mc_dropout is not None:
            return (
                f"it predicts by {member.mc_dropout} passes with dropout at work (--model.mc_dropout), which a file "
                "that gives the same answer each time cannot do"
            )
        return ""

    def own(self, member: ClassificationTask) -> dict[str, Any]:
        """How the images of a case are put together."""
        topk = {} if member.aggregate != "topk" or member.pooling is None else {"topk": member.pooling.share}
        return {"aggregate": member.aggregate, "topk": 0.1, **topk}

    def network(self, member: ClassificationTask) -> nn.Module:
        """See :class:`ClassifierGraph`."""
        return ClassifierGraph(member)

    def outputs(self, member: ClassificationTask) -> list[str]:
        """``logits``, and ``weights`` and ``cam`` where there are some."""
        weights = ["weights"] if member.attention is not None else []
        return ["logits", *weights, *(["cam"] if maps_classes(member) else [])]

    def member(self, member: ClassificationTask, prefix: str) -> Member:
        """See :class:`~tasks.exported.description.Member`."""
        return Member(prefix, ordinal=member.criterion.name == "ordinal")

    def facts(self) -> dict[str, Any]:
        """Target, and what a case is."""
        first = self.members[0]
        return {
            "target": first.target,
            "positive_class": first.positive_class,
            "bag_limit": first.bag_limit,
        }

    def reference(self, member: ClassificationTask, image: Tensor) -> dict[str, Tensor]:
        """See :meth:`~tasks.export.exporter.Exporter.reference`."""
        if member.attention is None:
            return {"logits": member(image)}
        logits, weights = member.weighed(image, [len(image)])
        assert weights is not None
        return {"logits": logits, "weights": weights}

    def output(self, member: ClassificationTask, found: Said, image: Tensor) -> Tensor:
        """See :meth:`~tasks.export.exporter.Exporter.output`."""
        return found["logits"]

    def compare_member(self, tally: Tally, member: ClassificationTask, image: Tensor, found: Said) -> None:
        """``logits``, and ``weights`` of the images where they are weighed."""
        wanted = self.reference(member, image)
        tally.largest("logits", wanted["logits"], found["logits"], relative=True)
        if "weights" in wanted:
            tally.largest("weights", wanted["weights"], found["weights"])

    def stand_ins(
        self, member: ClassificationTask, model: RunnableExport, prefix: str
    ) -> list[tuple[Any, str, Callable[..., Any]]]:
        """Where images are weighed, each case by itself; see :meth:`~tasks.export.exporter.Exporter.stand_ins`."""
        if member.attention is None:
            return super().stand_ins(member, model, prefix)

        def weighed(image: Tensor, sizes: Sequence[int] | None = None) -> tuple[Tensor, Tensor | None]:
            cases = torch.split(image.float(), [1] * len(image) if sizes is None else list(sizes))
            said = [Said(model, prefix, run_model(model, case.numpy(), prefix)) for case in cases]
            logits, weights = (torch.cat([one[name] for one in said]) for name in ("logits", "weights"))
            return logits, None if sizes is None else weights

        return [(member, "weighed", weighed)]
