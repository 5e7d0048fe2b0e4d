"""Pooling of a case's images (multiple-instance learning): from outputs by image to one for the case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from scansuite.errors import SuiteError
from tasks.exported.classification.pooling import SOFTMAX, top_count

AggregateName = Literal["none", "mean", "max", "topk", "attention"]


class LogitPooling(nn.Module):
    """Pooling of logits: each image has its own; those of a case are the mean of its k largest.

    ``mean`` takes all images, ``max`` the one largest, ``topk`` a share of them. What is averaged are logits, of
    softmax targets log-probabilities, so the probabilities of a case are a geometric mean. In a binary target the k
    images are those with the highest score of the positive class: a case is positive where its most suspicious images
    are. In the others each class, label, grade or number has its own k images.

    Args:
        name: ``mean``, ``max`` or ``topk``.
        share: of the images that ``topk`` takes, above 0 and up to 1; at least one image, rounded up.
        target: kind of target.
        positive: number of the positive class of a binary target.

    Raises:
        SuiteError: a share out of range.
    """

    def __init__(self, name: AggregateName, share: float, target: str, positive: int) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise SuiteError(f"--model.topk {share}: the share of a case's images must be above 0 and at most 1")
        self.share = {"mean": 1.0, "max": 0.0, "topk": share}[name]
        self.softmax, self.positive = target in SOFTMAX, positive if target == "binary" else None

    def forward(self, logits: Tensor, sizes: Sequence[int]) -> Tensor:
        """(N, C) logits of images, sizes of the B cases they belong to, in order -> (B, C) float32 logits of cases."""
        logits = logits.float()
        if self.softmax:
            logits = logits.log_softmax(dim=1)
        return torch.stack([self._largest(some).mean(dim=0) for some in torch.split(logits, list(sizes))])

    def _largest(self, logits: Tensor) -> Tensor:
        count = top_count(len(logits), self.share)
        if count == len(logits):
            return logits
        if self.positive is not None:
            margin = logits[:, self.positive] - logits[:, 1 - self.positive]
            return logits[margin.topk(count).indices]
        return logits.topk(count, dim=0).values


class AttentionPooling(nn.Module):
    """The features of a case are a weighted mean of its images' features (Ilse, Tomczak and Welling, ICML 2018).

    The weights are ``softmax_k(w' tanh(V h_k))``, or ``softmax_k(w' (tanh(V h_k) * sigmoid(U h_k)))`` where gated
    (equations 8 and 9 of the paper); V and U with biases, as in the authors' code.

    Args:
        features: length of an image's features.
        hidden: rows of V and U.
        gated: with U.
    """

    def __init__(self, features: int, hidden: int, gated: bool) -> None:
        super().__init__()
        if hidden < 1:
            raise SuiteError(f"--model.attention_hidden {hidden}: must be at least 1")
        self.values = nn.Linear(features, hidden)
        self.gate = nn.Linear(features, hidden) if gated else None
        self.weight = nn.Linear(hidden, 1, bias=False)  # a bias would add the same to all images of a case

    def forward(self, features: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Pool images to cases.

        Args:
            features: (N, F) of the images of all cases, in order.
            sizes: images of each of the B cases.

        Returns:
            (B, F) float32 features of the cases, and (N,) float32 weights of the images, which sum to 1 in each case.
        """
        parts = list(torch.split(self.say(features), list(sizes)))
        weights = pad_sequence(parts, batch_first=True, padding_value=-torch.inf).softmax(dim=1)
        images = pad_sequence(list(torch.split(features.float(), list(sizes))), batch_first=True)
        pooled = (weights[:, :, None] * images).sum(dim=1)
        return pooled, torch.cat([row[:size] for row, size in zip(weights, sizes, strict=True)])

    def say(self, features: Tensor) -> Tensor:
        """(N, F) features of images -> (N,) float32 logits of their weights."""
        hidden = self.values(features).tanh()
        if self.gate is not None:
            hidden = hidden * self.gate(features).sigmoid()
        said: Tensor = self.weight(hidden).squeeze(1).float()
        return said

    def weigh(self, features: Tensor) -> Tensor:
        """(N, F) features of the images of one case -> (N,) weights of the images, which sum to 1."""
        return self.say(features).softmax(dim=0)
