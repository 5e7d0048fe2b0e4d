"""Weights before training, by scheme, for networks that start from scratch."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn import init

Scheme = Literal["default", "kaiming", "xavier", "normal", "truncated_normal", "orthogonal"]

NORMAL_STD = 0.01  # Krizhevsky et al., NeurIPS 2012
TRUNCATED_STD = 0.02  # Dosovitskiy et al., ICLR 2021; drawn anew beyond two deviations


def initialise(net: nn.Module, scheme: Scheme) -> int:
    """Draws the weights of all convolutions and linear layers anew, in place, and sets their biases to 0.

    Norms, position embeddings and other parameters stay as the network makes them. With ``n_in`` and ``n_out`` the
    inputs and outputs of a unit (channels of its group times kernel positions), the variance of a weight is:

    - ``kaiming`` (He et al., ICCV 2015): 2 / n_in, normal;
    - ``xavier`` (Glorot and Bengio, AISTATS 2010): 2 / (n_in + n_out), uniform;
    - ``normal``: 0.01 squared;
    - ``truncated_normal``: 0.02 squared, cut at two deviations, which leaves 0.774 of it;
    - ``orthogonal`` (Saxe et al., ICLR 2014): rows, or columns where there are more rows, of length 1 and at right
      angles, which makes it 1 / max(rows, columns) of the matrix of a unit a row.

    Args:
        net: any network.
        scheme: ``default`` leaves the network's own.

    Returns:
        How many layers were drawn.
    """
    if scheme == "default":
        return 0
    count = 0
    for module in net.modules():
        if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        weight = module.weight
        if scheme == "kaiming":
            init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")
        elif scheme == "xavier":
            init.xavier_uniform_(weight)
        elif scheme == "normal":
            init.normal_(weight, std=NORMAL_STD)
        elif scheme == "truncated_normal":
            init.trunc_normal_(weight, std=TRUNCATED_STD, a=-2 * TRUNCATED_STD, b=2 * TRUNCATED_STD)
        else:
            init.orthogonal_(weight)
        if module.bias is not None:
            init.zeros_(module.bias)
        count += 1
    return count
