"""The head of k nearest neighbours: an image is called as the training images are whose features are most like its own.

Votes are weighted by likeness, exp(cosine / 0.07), as in Wu et al., Unsupervised feature learning via non-parametric
instance discrimination, CVPR 2018, and in DINO. scikit-learn's ``KNeighborsClassifier``, which is the reference in the
tests, cannot be part of a checkpoint that holds tensors alone, nor of an exported graph.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scansuite.errors import SuiteError
from tasks.classify.remembered import Remembering

TEMPERATURE = 0.07
_LEAST = 1e-6  # a share that no neighbour has, so that its logit is finite


class NeighbourHead(Remembering):
    """Average pooling, and the weighted votes of the nearest training images. Nothing of it is trained.

    Args:
        channels: of the deepest level.
        outputs: number of logits.
        neighbours: that vote; all, where fewer are known.
        target: kind of target.
        ordinal: logits are those of the ordinal loss.
        norm: bring a layer norm over channels.

    Attributes:
        keys: (M, F) float32 features of the known images, of length 1.
        votes: (M, V) float32: 1 for the class of each, or 0, 1 and NaN of its labels, or its number.

    Raises:
        SuiteError: fewer than one neighbour.
    """

    keys: Tensor
    votes: Tensor
    remembered: ClassVar[tuple[str, ...]] = ("keys", "votes")

    def __init__(self, channels: int, outputs: int, *, neighbours: int, target: str, ordinal: bool, norm: bool) -> None:
        from timm.layers import LayerNorm2d  # not before a head is made: the help of the command line reads this module

        super().__init__()
        if neighbours < 1:
            raise SuiteError(f"--model.neighbours {neighbours}: must be at least 1")
        self.norm = LayerNorm2d(channels) if norm else nn.Identity()
        self.norm.requires_grad_(False)
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.neighbours, self.target, self.ordinal, self.outputs = neighbours, target, ordinal, outputs
        self.width = channels
        self.register_buffer("keys", torch.zeros(0, channels))
        self.register_buffer("votes", torch.zeros(0, outputs + ordinal))

    def remember(self, features: Tensor, labels: Tensor) -> None:
        """Take in the training images.

        Args:
            features: (M, F).
            labels: (M,) classes or numbers, or (M, L) of 0, 1 and NaN.
        """
        if self.target == "regression":
            votes = labels.float()[:, None]
        elif self.target == "multilabel":
            votes = labels.float()
        else:
            votes = F.one_hot(labels, self.votes.shape[1]).float()
        self.keys, self.votes = F.normalize(features.float(), dim=1), votes

    def features(self, levels: list[Tensor]) -> Tensor:
        """The pyramid's levels, of which the last (B, C, h, w) is used -> (B, C)."""
        features: Tensor = self.flatten(self.pool(self.norm(levels[-1])))
        return features

    def shares(self, features: Tensor) -> Tensor:
        """(B, F) features -> (B, V) weighted mean of the neighbours' votes, unknown labels left out."""
        likeness = F.normalize(features.float(), dim=1) @ self.keys.T
        near, who = likeness.topk(min(self.neighbours, len(self.keys)), dim=1)
        # Less the highest: only their ratios count, and nothing overflows.
        weight = ((near - near[:, :1]) / TEMPERATURE).exp()[:, :, None]
        votes = self.votes[who]
        known = votes == votes  # not NaN, in a way that every exporter has
        total = (weight * known).sum(dim=1)
        said = (weight * torch.where(known, votes, torch.zeros_like(votes))).sum(dim=1)
        return torch.where(total > 0, said / total.clamp_min(_LEAST), torch.full_like(said, 0.5))

    def classify(self, features: Tensor) -> Tensor:
        """(B, F) features -> (B, outputs) logits whose probabilities are the neighbours' shares."""
        if not len(self.keys):  # as it is made, before it knows anything
            return features.new_zeros(len(features), self.outputs)
        shares = self.shares(features)
        if self.target == "regression":
            return shares
        if self.target == "multilabel":
            return torch.logit(shares, _LEAST)
        if not self.ordinal:
            return shares.clamp_min(_LEAST).log()
        above = shares.flip(1).cumsum(dim=1).flip(1)  # at least class k
        return torch.logit(above[:, 1:] / above[:, :-1].clamp_min(_LEAST), _LEAST)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """The pyramid's levels, of which the last (B, C, h, w) is used -> (B, outputs) logits."""
        return self.classify(self.features(levels))
