"""Deletion and insertion: what becomes of the model's number as a map's places are taken away, or shown first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float64]
STEPS = 10  # of a curve
MOVED = 8  # places to which a map is moved, to compare with
_BLUR = 5 / 224  # deviation of the blur that insertion begins with, of the longer side: that of the paper


@dataclass(frozen=True, eq=False)
class Curve:
    """The model's number against the share of pixels that are changed.

    Attributes:
        shares: (n,) from 0 to 1.
        scores: (n,) the model's number there.
    """

    shares: FloatArray
    scores: FloatArray

    @property
    def area(self) -> float:
        """Area below the curve, which is the mean of the number along it."""
        return float(np.trapezoid(self.scores, self.shares))


@torch.no_grad()
def curve(
    image: Tensor,
    strength: NDArray[np.float32],
    score: Callable[[Tensor], Tensor],
    kind: str,
    *,
    steps: int = STEPS,
    batch_size: int = 16,
) -> Curve:
    """Deletion or insertion of a map's places, the highest first.

    Source: Petsiuk, Das and Saenko, "RISE: randomized input sampling for explanation of black-box models", BMVC 2018.

    Args:
        image: (1, C, H, W).
        strength: (H, W) map.
        score: (B, C, H, W) images -> (B,) numbers.
        kind: ``deletion`` takes pixels of the image away, which become the mean of their channel; ``insertion`` shows
            them in a blurred image. A good map has a small area under the first and a large one under the second.
        steps: of the curve.
        batch_size: images at once.
    """
    plain = image.mean(dim=(2, 3), keepdim=True).expand_as(image) if kind == "deletion" else _blurred(image)
    first, then = (image, plain) if kind == "deletion" else (plain, image)
    order = np.argsort(-strength, axis=None, kind="stable")
    rank = torch.from_numpy(np.argsort(order)).to(image.device).reshape(image.shape[-2:])
    shares = np.linspace(0.0, 1.0, steps + 1)
    counts = torch.from_numpy(np.round(shares * strength.size)).to(image.device)
    scores = [
        score(torch.where(rank < some[:, None, None, None], then, first)).double().cpu()
        for some in torch.split(counts, batch_size)
    ]
    return Curve(shares, torch.cat(scores).numpy())


def moved(strength: NDArray[np.float32], seed: int, count: int = MOVED) -> list[NDArray[np.float32]]:
    """The same map at places drawn at random, beyond the edge in again on the other side, mirrored or not.

    To compare with: places as many and as large, which have nothing to do with the image. A map of single random pixels
    would be beaten by every smooth one.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        one = strength[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        found.append(np.roll(one, [int(rng.integers(side)) for side in one.shape], axis=(0, 1)))
    return found


def _blurred(image: Tensor) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    sigma = max(_BLUR * max(image.shape[-2:]), 0.5)
    size = min(2 * round(3 * sigma) + 1, 2 * ((min(image.shape[-2:]) - 1) // 2) + 1)
    blurred: Tensor = gaussian_blur(image, [size, size], [sigma, sigma])
    return blurred
