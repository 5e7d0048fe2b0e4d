"""The head of kernels: an image is called by how alike its features are to those of each training image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tasks.classify.heads import Standardised, of_all
from tasks.classify.remembered import Remembering


class KernelHead(Remembering):
    """Mean and deviation of the maps of all levels, standardised, and a linear or a Gaussian kernel on them.

    It is fitted by :mod:`tasks.classify.kernel_fit`, which chooses one of the two. Logits are ``linear(x)``, or sums
    over the training images of ``weights`` times exp(-|x - landmark|²), where x are the standardised features by the
    root of their number: the kernel's width is that of scikit-learn's ``gamma=1 / F``.

    Args:
        channels: of each level, fine to coarse.
        outputs: number of logits.

    Attributes:
        landmarks: (M, F) float32 features of the training images as x; M is 0 with the linear kernel.
        weights: (M, outputs) float32.
    """

    landmarks: Tensor
    weights: Tensor
    remembered: ClassVar[tuple[str, ...]] = ("landmarks", "weights")

    def __init__(self, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.width = 2 * sum(channels)
        self.scale = Standardised(self.width)
        self.linear = nn.Linear(self.width, outputs)
        self.register_buffer("landmarks", torch.zeros(0, self.width))
        self.register_buffer("weights", torch.zeros(0, outputs))

    def features(self, levels: list[Tensor]) -> Tensor:
        """The pyramid's levels, each (B, C, h, w) -> (B, F)."""
        return of_all(levels)

    def standardised(self, features: Tensor) -> Tensor:
        """(B, F) features -> (B, F) of mean squared length 1 over the training images."""
        scaled: Tensor = self.scale(features.float()) / math.sqrt(self.width)
        return scaled

    def classify(self, features: Tensor) -> Tensor:
        """(B, F) features -> (B, outputs) logits."""
        own = self.standardised(features)
        logits: Tensor = self.linear(own)
        if len(self.landmarks):
            logits = logits + gaussian(own, self.landmarks) @ self.weights
        return logits

    def forward(self, levels: list[Tensor]) -> Tensor:
        """The pyramid's levels, each (B, C, h, w) -> (B, outputs) logits."""
        return self.classify(self.features(levels))


def gaussian(first: Tensor, second: Tensor) -> Tensor:
    """(N, F) and (M, F) -> (N, M): exp(-|x - y|²)."""
    squares = first.square().sum(dim=1)[:, None] + second.square().sum(dim=1) - 2 * first @ second.T
    alike: Tensor = (-squares.clamp_min(0)).exp()
    return alike
