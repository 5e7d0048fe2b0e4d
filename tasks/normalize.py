"""Mean and deviation as the first layer of the model, so that an exported model carries them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation.

    torchvision's ``Normalize`` keeps its numbers outside of the state dict, and has none for each image.

    Args:
        mean: one number a channel, of images in [0, 1].
        std: one positive number a channel.
        per_image: use each image's own mean and deviation instead (over all its pixels and channels).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], per_image: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.per_image = per_image

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> the same shape, normalised."""
        if self.per_image:
            mean = image.mean(dim=(1, 2, 3), keepdim=True)
            return (image - mean) / image.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
        return (image - self.mean) / self.std
