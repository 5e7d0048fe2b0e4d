"""Metrics of an epoch during training.

Scores are kept and judged once at the epoch's end: averages over batches are wrong for most figures. Undefined figures
are NaN and left out of means, as in the tables; a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional import classification as F
from torchmetrics.functional import regression as R
from torchmetrics.utilities import dim_zero_cat


class ClassificationMetrics(Metric):
    """Sensitivity, specificity, F1, areas and kin of all cases seen since the last reset.

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
        """Name of a metric -> (), float32."""
        # After a reduction over ranks a state is one tensor, before it a list of them.
        labels = dim_zero_cat(self.labels) if len(self.labels) else torch.empty(0)
        if len(labels) == 0:
            return {}
        scores = dim_zero_cat(self.scores)
        if self.target == "regression":
            return _regression(scores.squeeze(1), labels)
        if self.target == "multilabel":
            return _multilabel(scores, labels)
        if self.target == "binary":
            called = scores.argmax(dim=1) == self.positive
            return _one_against_rest(scores[:, self.positive], called, labels == self.positive)
        values = _multiclass(scores, labels)
        if self.target == "ordinal":
            predicted = scores.argmax(dim=1)
            values["qwk"] = F.multiclass_cohen_kappa(predicted, labels, self.num_classes, weights="quadratic")
        return values


def _one_against_rest(score: Tensor, called: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Figures of one class or label from (N,) scores, calls and truth; undefined is NaN."""
    tp, fp = (called & truth).sum().float(), (called & ~truth).sum().float()
    fn, tn = (~called & truth).sum().float(), (~called & ~truth).sum().float()
    values = {
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "precision": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "accuracy": (tp + tn) / len(truth) if len(truth) else torch.full_like(tp, torch.nan),
        "auroc": torch.full_like(tp, torch.nan),
        "auprc": torch.full_like(tp, torch.nan),
    }
    values["balanced_accuracy"] = (values["sensitivity"] + values["specificity"]) / 2
    # torchmetrics has a number, and a warning, also where the areas are undefined.
    if truth.any():
        values["auprc"] = F.binary_average_precision(score, truth.long())
        if not truth.all():
            values["auroc"] = F.binary_auroc(score, truth.long())
    return values


def _mean_of_defined(figures: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([values[name] for values in figures]).nanmean() for name in figures[0]}


def _multiclass(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    predicted = scores.argmax(dim=1)
    classes = range(scores.shape[1])
    values = _mean_of_defined([_one_against_rest(scores[:, k], predicted == k, labels == k) for k in classes])
    values["balanced_accuracy"] = values["sensitivity"]
    values["accuracy"] = (predicted == labels).float().mean()
    return values


def _multilabel(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    figures = []
    for score, label in zip(scores.unbind(dim=1), labels.unbind(dim=1), strict=True):
        known = ~label.isnan()
        figures.append(_one_against_rest(score[known], score[known] > 0.5, label[known] == 1))
    return _mean_of_defined(figures)


def _regression(output: Tensor, label: Tensor) -> dict[str, Tensor]:
    # R2 subtracts large sums: float32 loses a target of 2000 +- 1. (Some accelerators have no double precision.)
    output, label = output.cpu().double(), label.cpu().double()
    values = {
        "mae": R.mean_absolute_error(output, label),
        "rmse": R.mean_squared_error(output, label, squared=False),
        "r2": R.r2_score(output, label) if label.max() > label.min() else torch.tensor(torch.nan),
    }
    return {name: value.float() for name, value in values.items()}
