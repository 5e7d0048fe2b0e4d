"""Distillation of classifiers: distance of a student's outputs from a teacher's, and whether there is any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tasks.compression.divergence import sigmoid_divergence, softmax_divergence
from tasks.distributed import mean_over_ranks

if TYPE_CHECKING:
    from tasks.classify.task import ClassificationTask


def imitation(
    output: Tensor, wanted: Tensor, target: str, *, ordinal: bool, temperature: float, spread: float = 1.0
) -> Tensor:
    """The loss of a student's outputs against a teacher's (Hinton, Vinyals and Dean, 2015, arXiv:1503.02531).

    Both logits are divided by the temperature, and the divergence is multiplied by its square, so that the gradient
    does not shrink with it.

    - classes: KL divergence of the softmax, the mean over cases;
    - labels: of each label's sigmoid, the mean over labels and cases, those of unknown truth included;
    - grades (CORN): that of the distributions over grades, which by the chain rule is the sum of the divergences of
      the conditional chances, each weighted by the teacher's chance that the question arises;
    - numbers: squared distance in spreads of the targets, without temperature.

    Args:
        output: (B, K) of the student.
        wanted: (B, K) of the teacher.
        target: kind of target.
        ordinal: the logits are those of the ordinal loss.
        temperature: above 0.
        spread: standard deviation of a regression's targets, as in the loss of its own.

    Returns:
        () float32.
    """
    output, wanted = output.float(), wanted.detach().float()
    cases, cells = (torch.full((), count, device=output.device) for count in (len(output), output.numel()))
    if target == "regression":
        return mean_over_ranks(((output - wanted) / spread).square().sum(), cells)
    own, wanted = output / temperature, wanted / temperature
    if ordinal:
        above = wanted.sigmoid().cumprod(dim=1)
        asked = torch.cat([torch.ones_like(above[:, :1]), above[:, :-1]], dim=1)
        loss = mean_over_ranks((asked * sigmoid_divergence(own, wanted)).sum(), cases)
    elif target == "multilabel":
        loss = mean_over_ranks(sigmoid_divergence(own, wanted).sum(), cells)
    else:
        loss = mean_over_ranks(softmax_divergence(own, wanted, dim=1).sum(), cases)
    return loss * temperature**2


def unlike(student: ClassificationTask, teacher: ClassificationTask) -> str:
    """Why the outputs of two classifiers cannot be compared; empty where they can, as far as it goes by their kind."""
    if student.target != teacher.target:
        return f"it was trained on a {teacher.target} target, and this one is {student.target}"
    if (student.criterion.name == "ordinal") != (teacher.criterion.name == "ordinal"):
        return "one has the outputs of the ordinal loss and the other has not: take the same --model.loss"
    if (student.aggregate == "none") != (teacher.aggregate == "none"):
        return "one evaluates images and the other cases of many images: see --model.aggregate"
    return ""
