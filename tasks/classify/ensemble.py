"""Ensemble of classifiers: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from datamodules.types import Batch
from tasks.batches import of_cases, without_padding
from tasks.classify.rows import case_rows
from tasks.classify.scores import spread
from tasks.classify.task import ClassificationTask
from tasks.ensemble import Ensemble, cut
from tasks.predictor import StepOutput


class ClassificationEnsemble(Ensemble[ClassificationTask]):
    """The mean of the members' probabilities (not logits), of sigmoids in multilabel, of the numbers in regression.

    Where members weigh the images of a case, the weights are the mean of theirs. See :class:`~tasks.ensemble.Ensemble`.

    Attributes:
        target: kind of target.
        positive_class: of a binary target.
        aggregate: how the first member evaluates a case with many images.
        bag_limit: most images of a case that are evaluated.
        operating_rule: by which the ensemble's own operating points are chosen: the first member's.
    """

    def __init__(self, members: Sequence[ClassificationTask], names: Sequence[str]) -> None:
        super().__init__(members, names)
        self.operating_rule = members[0].operating_rule
        self.target, self.positive_class = members[0].target, members[0].positive_class
        self.aggregate, self.bag_limit = members[0].aggregate, members[0].bag_limit

    def shared(self, member: ClassificationTask) -> dict[str, Any]:
        """Target, classes, and what is a case."""
        return {
            "kind of target": member.target,
            "classes": member.class_names,
            "positive class": member.positive_class,
            "evaluating the images of a case together (--model.aggregate)": member.aggregate != "none",
            "images of a case (--data.bag_limit)": member.bag_limit,
            "the slices of volumes": cut(member),
        }

    def combined(self, said: Iterator[StepOutput[Tensor]]) -> StepOutput[Tensor]:
        """(B, C) float64 mean probabilities as ``output``, and (B,) how far the members are apart as ``spread``."""
        scores: list[Tensor] = []
        weights: list[Tensor] = []
        batch = Batch()
        for member, one in zip(self.members, said, strict=True):
            scores.append(member.scores(one["output"]))  # type: ignore[operator]
            batch = one["batch"]
            if (weighed := one.get("weights")) is not None:
                weights.append(weighed)
        mean = torch.stack(weights).mean(dim=0) if weights else None
        every = torch.stack(scores)
        apart = spread(every, self.target)
        return {"output": every.mean(dim=0), "batch": batch, "weights": mean, "spread": apart}

    def validation_step(self, batch: Batch, batch_idx: int) -> StepOutput[Tensor]:
        """Mean probabilities and cases of a validation batch, without padding."""
        said = self.predict_step(batch, batch_idx)
        kept = without_padding(batch)
        apart = said.get("spread")
        return {
            "output": said["output"][kept],
            "batch": of_cases(batch, kept),
            "spread": None if apart is None else apart[kept],
        }

    def test_step(self, batch: Batch, batch_idx: int) -> StepOutput[Tensor]:
        """Mean probabilities and cases of a test batch, without padding."""
        return self.validation_step(batch, batch_idx)

    def rows(self, output: Tensor, batch: Batch) -> dict[str, list[Any]]:
        """Columns for the cases of a batch."""
        return case_rows(output, batch, self.target, self.class_names)


ClassificationModel: TypeAlias = ClassificationTask | ClassificationEnsemble
