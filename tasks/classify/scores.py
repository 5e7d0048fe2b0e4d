"""Scores of a case from its logits: probabilities that keep its rank, and the class that is called."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.evaluation.calibration.calibration import Calibration
from tasks.exported.classification import spread as apart
from tasks.precision import in_double


def probabilities(output: Tensor, target: str, *, ordinal: bool) -> Tensor:
    """Probabilities for the table from the outputs of a network.

    Args:
        output: (B, K) logits, of any precision; (B, 1) numbers of a regression target.
        target: kind of target.
        ordinal: the logits are those of the ordinal loss.

    Returns:
        (B, C) float64 probabilities; (B, 1) numbers for regression. Those of one case sum to 1, but in multilabel.
    """
    output = output.detach()
    exact = in_double(output.cpu() if output.device.type == "mps" else output)
    if target == "regression":
        return exact
    if target == "multilabel":
        return exact.sigmoid()
    return rank_probabilities(exact) if ordinal else exact.softmax(dim=1)


def rank_probabilities(logits: Tensor) -> Tensor:
    """(B, C - 1) CORN logits -> (B, C) class probabilities.

    The chance of being above class k is the product of the conditional ones, so it never rises with k. That of class k
    is the chance of being above the one before, and not above k: a product too, since a difference would lose what is
    near 0.
    """
    above = logits.sigmoid().cumprod(dim=1)
    ones = torch.ones_like(above[:, :1])
    return torch.cat([ones, above], dim=1) * torch.cat([(-logits).sigmoid(), ones], dim=1)


def called_class(scores: Tensor, target: str) -> Tensor:
    """(B, C) probabilities -> (B,) number of the class that is called: the most probable one, the first of equals.

    Of an ordinal target it is the median grade, whatever the loss: the number of grades that the case is above with a
    chance of more than 0.5. So calls CORN (Shi, Cao and Raschka, 2021, arXiv:2111.08851); the most probable grade may
    lie at one end, with nearly half of the chance at the other.
    """
    if target != "ordinal":
        return scores.argmax(dim=1)
    # "Above by more than 0.5" is "up to here by less than 0.5".
    return (scores.cumsum(dim=1)[:, :-1] < 0.5).sum(dim=1)


def spread(scores: Tensor, target: str) -> Tensor:
    """(B,) float64: how far M models or passes are apart, see :func:`tasks.exported.classification.spread.spread`.

    Args:
        scores: (M, B, C) float64.
        target: kind of target.
    """
    return torch.from_numpy(apart.spread(scores.double().cpu().numpy(), target)).to(scores.device)


def for_torchmetrics(scores: Tensor, label: Tensor, target: str, positive: int) -> tuple[Tensor, Tensor]:
    """Scores and labels as torchmetrics has them: (B, C) probabilities and (B,) classes; of a binary target (B,) each.

    Of a multilabel target (B, L) probabilities and (B, L) of 0, 1 and -1, which is unknown; of regression (B,) and (B,)
    numbers.

    Args:
        scores: (B, C) float32, of regression (B, 1).
        label: (B,), or (B, L) with NaN where it is unknown.
        target: kind of target.
        positive: number of the positive class of a binary target.
    """
    if target == "regression":
        return scores[:, 0], label.float()
    if target == "multilabel":
        return scores, torch.where(label.isnan(), -1, label).long()
    if target == "binary":
        return scores[:, positive], (label == positive).long()
    return scores, label


def calibrated(scores: Tensor, calibration: Calibration | None) -> Tensor:
    """(B, C) probabilities as shares of cases; None leaves them as they are."""
    if calibration is None:
        return scores
    return torch.from_numpy(calibration.apply(scores.cpu().numpy())).to(scores.device)
