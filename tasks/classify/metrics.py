"""Metrics of an epoch during training.

Scores are kept and evaluated once at the epoch's end: averages over batches are wrong for most metrics. What evaluates
them is what evaluates the tables, so that both say the same of the same scores.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from tasks.classify.scores import called_class
from tasks.evaluation.classification.metrics import quick_metrics


class ClassificationMetrics(Metric):
    """Sensitivity, specificity, F1, areas and the like of all cases seen since the last reset.

    Args:
        target: kind of target.
        num_classes: number of classes or labels.
        positive: number of the positive class of a binary target.
    """

    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self, target: str, num_classes: int, positive: int = 1) -> None:
        super().__init__()
        self.target, self.num_classes, self.positive = target, num_classes, positive
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Keep a batch: (B, C) probabilities and (B,) classes or (B, L) cells; (B, 1) numbers for regression."""
        self.scores.append(scores)
        self.labels.append(labels)

    def compute(self) -> dict[str, Tensor]:
        """Name of a metric -> (), float32; undefined values are NaN."""
        # After a reduction over ranks a state is one tensor, before it a list of them.
        labels = dim_zero_cat(self.labels).cpu() if len(self.labels) else torch.empty(0)
        if len(labels) == 0:
            return {}
        scores = dim_zero_cat(self.scores).cpu().double()
        if self.target == "regression":
            prediction = scores[:, 0]
        elif self.target == "multilabel":
            prediction = scores > 0.5
        else:
            prediction = called_class(scores, self.target)
        values = quick_metrics(self.target, labels.numpy(), prediction.numpy(), scores.numpy(), self.positive)
        return {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}
