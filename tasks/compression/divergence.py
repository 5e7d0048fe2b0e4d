"""Kullback-Leibler divergences of logits: how far the output of a network is from that of another.

``torch.distributions`` has them for whole distributions; its Bernoulli's becomes infinite where a sigmoid rounds to 0.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def softmax_divergence(own: Tensor, wanted: Tensor, dim: int) -> Tensor:
    """KL(wanted || own) of the softmax of logits of one shape; ``dim``, over which it is summed, is gone."""
    log_own, log_wanted = own.log_softmax(dim), wanted.log_softmax(dim)
    return F.kl_div(log_own, log_wanted, reduction="none", log_target=True).sum(dim)


def sigmoid_divergence(own: Tensor, wanted: Tensor) -> Tensor:
    """KL(wanted || own) of the sigmoid of each logit, by cell."""
    chance = wanted.sigmoid()
    yes, no = F.logsigmoid(wanted) - F.logsigmoid(own), F.logsigmoid(-wanted) - F.logsigmoid(-own)
    return chance * yes + (1 - chance) * no
