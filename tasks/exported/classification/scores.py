"""Scores of cases from the logits of an exported classifier; :mod:`tasks.classify.scores` without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def probabilities(output: NDArray[Any], target: str, *, ordinal: bool) -> FloatArray:
    """Probabilities for the table from the outputs of a network.

    Args:
        output: (B, K) logits; (B, 1) numbers of a regression target.
        target: kind of target.
        ordinal: the logits are those of the ordinal loss (CORN).

    Returns:
        (B, C) float64 probabilities; (B, 1) numbers for regression. Those of one case sum to 1, but in multilabel.
    """
    exact = output.astype(np.float64)
    if target == "regression":
        return exact
    if target == "multilabel":
        return sigmoid(exact)
    return rank_probabilities(exact) if ordinal else softmax(exact, axis=1)


def rank_probabilities(logits: FloatArray) -> FloatArray:
    """(B, C - 1) CORN logits -> (B, C) class probabilities, as :func:`tasks.classify.scores.rank_probabilities`."""
    above = sigmoid(logits).cumprod(axis=1)
    ones = np.ones((len(logits), 1))
    chances: FloatArray = np.concatenate([ones, above], axis=1) * np.concatenate([sigmoid(-logits), ones], axis=1)
    return chances


def softmax(logits: NDArray[Any], axis: int) -> NDArray[Any]:
    """Probabilities of classes, in the precision of the logits."""
    raised: NDArray[Any] = logits - logits.max(axis=axis, keepdims=True)
    np.exp(raised, out=raised)
    raised /= raised.sum(axis=axis, keepdims=True)
    return raised


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities of labels by themselves, in the precision of the logits."""
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and its probability 0
        shares: NDArray[Any] = 1 / (1 + np.exp(-logits))
    return shares
