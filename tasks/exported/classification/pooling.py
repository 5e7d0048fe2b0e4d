"""Pooling of the logits of a case's images; :class:`tasks.classify.pooling.LogitPooling` without torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Kinds of target whose logits mean something only beside one another (softmax).
SOFTMAX = ("binary", "multiclass")


def top_count(images: int, share: float) -> int:
    """Number of images that are a share of a case's: rounded up, at least one."""
    return max(1, math.ceil(share * images - 1e-9))


def pool_logits(logits: NDArray[Any], aggregate: str, topk: float, target: str, positive: int) -> NDArray[np.float32]:
    """Logits of a case from those of its images.

    Args:
        logits: (n, K) of the images of one case.
        aggregate: ``mean``, ``max`` or ``topk``.
        topk: share of the images that ``topk`` takes.
        target: kind of target.
        positive: number of the positive class of a binary target.

    Returns:
        (1, K) mean of the largest, of softmax targets as log-probabilities; see
        :class:`~tasks.classify.pooling.LogitPooling`.
    """
    single = logits.astype(np.float32)
    if target in SOFTMAX:
        single -= single.max(axis=1, keepdims=True)
        single -= np.log(np.exp(single).sum(axis=1, keepdims=True))
    count = top_count(len(single), {"mean": 1.0, "max": 0.0, "topk": topk}[aggregate])
    if count < len(single):
        if target == "binary":
            margin = single[:, positive] - single[:, 1 - positive]
            single = single[np.argsort(-margin, kind="stable")[:count]]
        else:
            single = -np.sort(-single, axis=0)[:count]
    pooled: NDArray[np.float32] = single.mean(axis=0, keepdims=True, dtype=np.float32)
    return pooled
