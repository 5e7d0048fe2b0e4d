"""Metrics of an epoch during training.

Scores are kept and judged once at the epoch's end: averages over batches are wrong for most figures. Undefined figures
are NaN and left out of means, as in the tables; a test holds both equal.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional import classification as F
from torchmetrics.functional import regression as R
from torchmetrics.utilities import dim_zero_cat


class ClassificationMetrics(Metric):
    """Sensitivity, specificity, F1 and kin of all cases seen since the last reset, by torchmetrics' functions.

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
        if not self.scores:
            return {}
        scores = cast("Tensor", dim_zero_cat(self.scores))
        labels = cast("Tensor", dim_zero_cat(self.labels))
        if self.target == "regression":
            return _regression(scores.squeeze(1), labels)
        if self.target == "multilabel":
            return _multilabel(scores, labels)
        if self.target == "binary":
            return _binary(scores[:, self.positive], (labels == self.positive).long())
        values = _multiclass(scores, labels)
        if self.target == "ordinal":
            predicted = scores.argmax(dim=1)
            values["qwk"] = F.multiclass_cohen_kappa(predicted, labels, self.num_classes, weights="quadratic")
        return values


def _counts_to_figures(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> dict[str, Tensor]:
    """(C,) counts -> (C,) figures; 0 / 0 is NaN."""
    tp, fp, tn, fn = (count.float() for count in (tp, fp, tn, fn))
    return {
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "precision": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "accuracy": (tp + tn) / (tp + fp + tn + fn),
    }


def _where_defined(value: Tensor, support: Tensor, cases: Tensor) -> Tensor:
    """NaN where a class has no case, or nothing else has."""
    return torch.where((support > 0) & (support < cases), value, torch.nan)


def _binary(score: Tensor, label: Tensor) -> dict[str, Tensor]:
    tp, fp, tn, fn, support = F.binary_stat_scores((score > 0.5).long(), label)
    values = _counts_to_figures(tp, fp, tn, fn)
    total = torch.tensor(len(label), device=score.device)
    values["auroc"] = _where_defined(F.binary_auroc(score, label), support, total)
    values["auprc"] = torch.where(support > 0, F.binary_average_precision(score, label), torch.nan)
    values["balanced_accuracy"] = (values["sensitivity"] + values["specificity"]) / 2
    return values


def _multiclass(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    classes = scores.shape[1]
    predicted = scores.argmax(dim=1)
    counts = F.multiclass_stat_scores(predicted, labels, classes, average="none")
    tp, fp, tn, fn, support = counts.unbind(dim=1)
    total = torch.tensor(len(labels), device=scores.device)
    by_class = _counts_to_figures(tp, fp, tn, fn)
    arguments: dict[str, Any] = {"num_classes": classes, "average": "none"}
    by_class["auroc"] = _where_defined(F.multiclass_auroc(scores, labels, **arguments), support, total)
    auprc = F.multiclass_average_precision(scores, labels, **arguments)
    by_class["auprc"] = torch.where(support > 0, auprc, torch.nan)
    values = {name: value.nanmean() for name, value in by_class.items()}
    values["balanced_accuracy"] = values["sensitivity"]
    values["accuracy"] = (predicted == labels).float().mean()
    return values


def _multilabel(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    by_label: dict[str, list[Tensor]] = {}
    for score, label in zip(scores.unbind(dim=1), labels.unbind(dim=1), strict=True):
        known = ~label.isnan()
        if known.any():
            for name, value in _binary(score[known], label[known].long()).items():
                by_label.setdefault(name, []).append(value)
    return {name: torch.stack(values).nanmean() for name, values in by_label.items()}


def _regression(output: Tensor, label: Tensor) -> dict[str, Tensor]:
    values = {
        "mae": R.mean_absolute_error(output, label),
        "rmse": R.mean_squared_error(output, label, squared=False),
    }
    if len(label) > 1:
        values["r2"] = R.r2_score(output, label)
    return values
