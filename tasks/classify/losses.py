"""Losses for one target a case. All compute in float32 and divide by counts that all ranks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.classify.target_unit import TargetUnit
from tasks.distributed import mean_over_ranks
from tasks.masked import sum_where

LossName = Literal["auto", "cross_entropy", "focal", "mse", "mae", "huber", "ordinal"]

# What each kind of target can be trained with; the first is the default.
LOSSES: dict[str, tuple[str, ...]] = {
    "binary": ("cross_entropy", "focal", "mse"),
    "multiclass": ("cross_entropy", "focal", "mse"),
    "multilabel": ("cross_entropy", "focal", "mse"),
    "ordinal": ("ordinal", "cross_entropy", "focal"),
    "regression": ("mse", "mae", "huber"),
}


class ClassificationLoss(nn.Module):
    """The loss of a batch for any kind of target.

    Args:
        target: kind of target.
        name: a name of :data:`LOSSES` for that kind, or ``auto`` for its first.
        class_weights: weight of each class; for multilabel, of the positive cells of each label.
        label_smoothing: share of the target spread over all classes (Szegedy et al., CVPR 2016), 0..1.
        gamma: focusing exponent of the focal loss, at least 0.
        unit: of a regression's targets, whose spread distances are measured in; None: as they are.

    Raises:
        SuiteError: the loss does not fit the kind of target, or a number is out of its range.
    """

    weights: Tensor | None

    def __init__(
        self,
        target: str,
        name: LossName | str = "auto",
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        gamma: float = 2.0,
        unit: TargetUnit | None = None,
    ) -> None:
        super().__init__()
        chosen = LOSSES[target][0] if name == "auto" else name
        if chosen not in LOSSES[target]:
            raise SuiteError(f"--model.loss {name}: a {target} target takes {', '.join(LOSSES[target])}")
        if not 0 <= label_smoothing < 1:
            raise SuiteError(f"--model.label_smoothing {label_smoothing}: must be at least 0 and below 1")
        if class_weights is not None and chosen not in ("cross_entropy", "focal"):
            raise SuiteError(f"--model.class_weights: the {chosen} loss takes none: leave it out")
        if class_weights is not None and min(class_weights) < 0:
            raise SuiteError(f"--model.class_weights {list(class_weights)}: numbers must be at least 0")
        if gamma < 0:
            raise SuiteError(f"--model.focal_gamma {gamma}: must be at least 0")
        self.name, self.smoothing, self.gamma = chosen, label_smoothing, gamma
        self.unit = TargetUnit(target) if unit is None else unit
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weights", weights, persistent=False)
        self._compute: Callable[[Tensor, Tensor], Tensor]
        if target == "multilabel":
            self._compute = self._cells
        elif target == "regression":
            self._compute = self._distance
        else:
            self._compute = self._ranks if chosen == "ordinal" else self._classes

    def forward(self, output: Tensor, label: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            output: (B, C) logits; (B, C - 1) for the ordinal loss; (B, 1) for regression.
            label: (B,) int64 classes, (B,) float32 numbers, or (B, L) float32 in {0, 1, NaN = unknown}.

        Returns:
            () float32; 0 where nothing is known.
        """
        return self._compute(output.float(), label)

    def _classes(self, logits: Tensor, label: Tensor) -> Tensor:
        classes = logits.shape[1]
        if self.name == "cross_entropy" and logits.is_cuda:  # the same in three kernels; a CPU keeps its last bits
            total = F.cross_entropy(logits, label, self.weights, reduction="sum", label_smoothing=self.smoothing)
            count = (
                torch.full((), len(label), device=logits.device) if self.weights is None else self.weights[label].sum()
            )
            return mean_over_ranks(total, count)
        soft = F.one_hot(label, classes).float() * (1 - self.smoothing) + self.smoothing / classes
        weights = torch.ones(classes, device=logits.device) if self.weights is None else self.weights
        if self.name == "mse":  # the Brier score as a loss
            total = (logits.softmax(dim=1) - soft).square().sum()
            return mean_over_ranks(total, torch.full((), len(label), device=logits.device))
        log_p = logits.log_softmax(dim=1)
        # Focal loss: (1 - p)^gamma on the cross-entropy of each class (Lin et al., ICCV 2017).
        # Never quite 0, where a gamma below 1 has no finite slope.
        other = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
        focus = other**self.gamma if self.name == "focal" else torch.ones_like(log_p)
        return mean_over_ranks(-(focus * soft * weights * log_p).sum(), weights[label].sum())

    def _cells(self, logits: Tensor, label: Tensor) -> Tensor:
        known = ~label.isnan()
        label = torch.where(known, label, torch.zeros_like(label)).float()
        soft = label * (1 - self.smoothing) + self.smoothing / 2
        positive = torch.ones(logits.shape[1], device=logits.device) if self.weights is None else self.weights
        if self.name == "mse":
            cell = (logits.sigmoid() - soft).square()
        else:
            log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
            focus_p = (self.gamma * log_q).exp() if self.name == "focal" else 1.0
            focus_q = (self.gamma * log_p).exp() if self.name == "focal" else 1.0
            cell = -(positive * soft * focus_p * log_p + (1 - soft) * focus_q * log_q)
        return mean_over_ranks(sum_where(cell, known), known.sum())

    def _distance(self, output: Tensor, label: Tensor) -> Tensor:
        distances: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}
        # In spreads of the targets: neither learning rate nor clipping nor Huber's bend goes by their unit.
        apart = (output.squeeze(1) - label.float()) / self.unit.spread
        total = distances[self.name](apart, torch.zeros_like(apart), reduction="sum")
        return mean_over_ranks(total, torch.full((), len(label), device=output.device))

    def _ranks(self, logits: Tensor, label: Tensor) -> Tensor:
        """CORN (Shi, Cao and Raschka, 2021, arXiv:2111.08851).

        Logit k is for "above class k, given at least class k", learnt on the cases of at least class k.
        """
        steps = torch.arange(logits.shape[1], device=logits.device)
        asked = label[:, None] >= steps
        above = (label[:, None] > steps).float()
        soft = above * (1 - self.smoothing) + self.smoothing / 2
        cell = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        return mean_over_ranks(sum_where(cell, asked), asked.sum())


def weights_by_class(
    asked: Literal["balanced"] | list[float] | None,
    target: str,
    class_names: Sequence[str],
    counts: Sequence[float] | None,
    known: Sequence[float] | None,
) -> list[float] | None:
    """What ``--model.class_weights`` asks for as one number a class; None: all alike.

    Args:
        asked: as given.
        target: kind of target.
        class_names: of the target.
        counts: see :func:`balanced_class_weights`; likewise ``known``. None: the data do not say.
        known: likewise.

    Raises:
        SuiteError: there is not one for each class, or nothing to balance by.
    """
    if asked is None or isinstance(asked, list):
        if asked is not None and len(asked) != len(class_names):
            what = f"{number_of(len(asked), 'number')} for {len(class_names)} classes"
            raise SuiteError(f"--model.class_weights: {what} ({', '.join(class_names)}): give one for each")
        return asked
    if target == "regression":
        raise SuiteError("--model.class_weights balanced: a regression target has no classes")
    if not counts or not known:
        raise SuiteError("--model.class_weights balanced: the data module says no class counts; give the weights")
    return balanced_class_weights(target, counts, known)


def balanced_class_weights(target: str, counts: Sequence[float], known: Sequence[float]) -> list[float]:
    """``balanced`` weights: N / (C n_c) for classes, negatives / positives for the labels of a multilabel target.

    Args:
        target: kind of target.
        counts: training cases of each class, or positive ones of each label.
        known: training cases of which each class or label is known.
    """
    pairs = list(zip(counts, known, strict=True))
    if target == "multilabel":
        return [(cases - count) / count if count else 1.0 for count, cases in pairs]
    return [cases / (len(counts) * count) for count, cases in pairs]
