"""How far several predictions of the same cases are apart: of the members of an ensemble, or of passes with dropout.

Of classes it is the mutual information of the call and the model: the entropy of the mean prediction less the mean
entropy of the single ones. It is 0 where all say the same, however unsure they are, and so knows what no single model
does: where models differ. Sources: N. Houlsby and others, Bayesian active learning for classification and preference
learning, arXiv:1112.5745, 2011; Y. Gal, R. Islam and Z. Ghahramani, ICML 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def spread(scores: FloatArray, target: str) -> FloatArray:
    """Spread of each case, ``(B,)`` float64, 0 or more.

    Args:
        scores: (M, B, C) float64 probabilities by M models or passes; (M, B, 1) numbers of a regression target.
        target: kind of target.

    Returns:
        Of classes the mutual information in nats, of several labels its mean over the labels, of numbers their standard
        deviation in units of the target.
    """
    if target == "regression":
        deviation: FloatArray = scores[:, :, 0].std(axis=0, ddof=1 if len(scores) > 1 else 0)
        return deviation
    if target == "multilabel":
        both = np.stack([scores, 1 - scores], axis=-1)
        mean: FloatArray = _information(both).mean(axis=1)
        return mean
    return _information(scores)


def _information(scores: FloatArray) -> FloatArray:
    """Entropy of the mean over the first axis less the mean entropy, over the last axis; rounding goes not below 0."""
    less: FloatArray = _entropy(scores.mean(axis=0)) - _entropy(scores).mean(axis=0)
    return less.clip(min=0)


def _entropy(scores: FloatArray) -> FloatArray:
    chances = scores.clip(0, 1)
    entropy: FloatArray = -(chances * np.log(chances, out=np.zeros_like(chances), where=chances > 0)).sum(axis=-1)
    return entropy
