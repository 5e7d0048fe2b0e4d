"""What maps of a classifier explain: a class, a label, the grade or the number of an image or of a bag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from scansuite.errors import SuiteError
from tasks.classify.heads import Head
from tasks.classify.scores import calibrated, called_class, rank_probabilities
from tasks.classify.task import ClassificationTask
from tasks.classify.tta import flipped_back, views_of
from tasks.explain.explainer import Explainer, of_classes
from tasks.explain.targets import Scorer, Target

GRADE, NUMBER = "grade", "number"
_AT_ONCE = 16  # images of a case


class ClassificationExplainer(Explainer[ClassificationTask]):
    """One image, or the images of one case, as a classifier sees them.

    The number of a class is its log-odds against the others, of a label its logit; of an ordinal target the expected
    grade, or the log-odds of one grade; of regression the number itself. Of a bag it is the case's, and maps show what
    raises it in one image while the others stay as they are.

    Args:
        model: with its weights.
        images: see :class:`~tasks.explain.explainer.Explainer`.
    """

    def __init__(self, model: ClassificationTask, images: Tensor) -> None:
        super().__init__(model, images)
        self._case: Tensor | None = None

    @torch.no_grad()
    def case(self) -> Tensor:
        """(N, F) features or logits of all images of the case."""
        if self._case is None:
            self._case = torch.cat([self.model.of_images(some) for some in torch.split(self.images, _AT_ONCE)])
        return self._case

    def forward(self, images: Tensor, index: int = 0) -> Tensor:
        """(B, outputs) of B variants of one image, or of the case with that image changed."""
        output = self.model.of_images(images)
        if self.model.aggregate == "none":
            return output
        case = self.case().expand(len(images), -1, -1)
        case = torch.cat([case[:, :index], output[:, None].to(case.dtype), case[:, index + 1 :]], dim=1)
        return self.model.of_cases(case.flatten(0, 1), [case.shape[1]] * len(case))[0]

    def weights(self) -> Tensor | None:
        """(N,) attention of each image of a bag; None where the model weighs none."""
        if self.model.attention is None:
            return None
        with torch.no_grad():
            weights = self.model.of_cases(self.case(), [len(self.images)])[1]
        return None if weights is None else weights.cpu()

    def chosen(self, most: int) -> list[int]:
        """The highest-weighed images of a bag; of a pooled one those that raise the case's first output most."""
        if self.model.aggregate == "none":
            return list(range(len(self.images)))
        weights = self.weights()
        if weights is None:
            weights = self._suspicion()
        return [int(number) for number in weights.topk(min(most, len(weights))).indices]

    @torch.no_grad()
    def _suspicion(self) -> Tensor:
        """(N,) score of each image of a pooled case for the class that is called of the case."""
        return self.scorer(type(self).targets([self], None)[0]).value(self.case()).cpu()

    @classmethod
    def targets(cls, members: Sequence[Self], asked: Sequence[str | Target] | None) -> list[Target]:
        """The positive class, the called class or labels, the grade or the number; or the classes asked for."""
        model = members[0].model
        own = {"ordinal": GRADE, "regression": NUMBER}.get(model.target)
        if asked is not None:
            return [one if isinstance(one, Target) else cls._of_name(model, one, own) for one in asked]
        if own is not None:
            return [Target(own, own)]
        names = model.class_names
        if model.target == "binary":
            return [Target(str(model.positive_class), str(model.positive_class))]
        with torch.no_grad():
            scores = torch.stack([one.model.scores(one.forward(one.images[:1]))[0].cpu() for one in members]).mean(
                dim=0
            )
        if model.target == "multilabel":
            called = [name for name, score in zip(names, scores, strict=True)
                      if score >= model.operating_points.get(name, 0.5)]  # fmt: skip
            return [Target(name, name) for name in called or [names[int(scores.argmax())]]]
        name = names[int(called_class(scores[None], model.target)[0])]
        return [Target(name, name)]

    @staticmethod
    def _of_name(model: ClassificationTask, name: str, own: str | None) -> Target:
        """Raises: SuiteError: there is no such class."""
        if name != own:
            if model.target == "regression":
                raise SuiteError(
                    f"target {name!r}: the model gives a number: leave --target out, or ask for {NUMBER!r}"
                )
            of_classes(model.class_names, name)
        return Target(name, name)

    def scorer(self, target: Target) -> Scorer:
        """The target as functions of (B, outputs)."""
        model = self.model
        ordinal = model.criterion.name == "ordinal"
        if target.name == NUMBER and model.target == "regression":
            return Scorer(lambda output: output[:, 0], lambda output: output.detach()[:, 0])
        if target.name == GRADE and model.target == "ordinal":
            grades = _ordinal_grade if ordinal else _class_grade
            return Scorer(grades, lambda output: grades(output.detach()))
        number = of_classes(model.class_names, target.label)

        def score(output: Tensor) -> Tensor:
            return calibrated(model.scores(output), model.calibration)[:, number]

        if model.target == "multilabel":
            return Scorer(lambda output: output[:, number], score)
        if ordinal:
            return Scorer(lambda output: _logit(rank_probabilities(output)[:, number]), score)
        return Scorer(lambda output: log_odds(output, number), score)

    def layers(self) -> list[str]:
        """The network's own stages, as timm lists them."""
        modules = dict(self.model.named_modules())
        named = [f"backbone.{info['module']}" for info in self.model.backbone.net.feature_info]
        return [name for name in dict.fromkeys(named) if name in modules] or ["backbone"]

    def not_linear(self) -> str | None:
        """Why CAM proper does not hold; None where the head is one linear layer on the mean of cells."""
        head = self.model.head
        if not isinstance(head, Head) or not isinstance(head.pool, nn.AdaptiveAvgPool2d):
            return "its head is not one linear layer on pooled features (--model.head pool)"
        if not isinstance(head.hidden, nn.Identity):
            return "its head has a hidden layer (--model.head mlp), so no map adds up to its output"
        if self.model.target == "ordinal":
            return "a grade is no linear function of the head's outputs"
        return None

    def linear_weights(self, target: Target) -> Tensor:
        """(C,) row of the head, of a softmax less the mean of the others' (which leaves what all share out)."""
        head = self.model.head
        assert isinstance(head, Head)
        rows = head.linear.weight.detach()
        if self.model.target == "regression":
            return rows[0] * self.model.unit.factor
        number = of_classes(self.model.class_names, target.label)
        if self.model.target == "multilabel":
            return rows[number]
        return rows[number] - (rows.sum(dim=0) - rows[number]) / (len(rows) - 1)

    def deepest_cells(self, image: Tensor, index: int = 0) -> Tensor:
        """(1, C, h, w) that the head pools."""
        model, head = self.model, self.model.head
        assert isinstance(head, Head)
        levels = [model.backbone(model.normalize(view)) for view in views_of(image, model.views)]
        return flipped_back([head.norm(level[-1]) for level in levels], model.views)

    def reads_class_token(self) -> bool:
        """Whether the network's own head reads it."""
        return self.model.head is None and getattr(self.model.backbone.net, "global_pool", "") == "token"


def log_odds(output: Tensor, number: int) -> Tensor:
    """(B, C) logits of a softmax -> (B,) log-odds of a class.

    A logit alone says nothing, since all may rise together; the log-odds say how the probability moves, and do not
    flatten where it nears 1.
    """
    others = torch.cat([output[:, :number], output[:, number + 1 :]], dim=1)
    return output[:, number] - others.logsumexp(dim=1)


def _ordinal_grade(output: Tensor) -> Tensor:
    """(B, C - 1) logits of the ordinal loss -> (B,) expected grade, the sum of the chances of being above each."""
    return output.sigmoid().cumprod(dim=1).sum(dim=1)


def _class_grade(output: Tensor) -> Tensor:
    """(B, C) logits -> (B,) expected grade."""
    return output.softmax(dim=1) @ torch.arange(output.shape[1], device=output.device, dtype=output.dtype)


def _logit(probability: Tensor) -> Tensor:
    return torch.logit(probability, eps=1e-7)
