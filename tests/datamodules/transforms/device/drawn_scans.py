"""Batches of drawn scans, and parameters drawn for them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.transforms.device.augmentation import DeviceAugmentation


def scan(size: tuple[int, int], channels: int, number: int = 0) -> NDArray[np.float32]:
    """Soft blobs (H, W, C) in [0, 1] with a sharp bright bar, so that edges count too."""
    rng = np.random.default_rng(number)
    image = cv2.GaussianBlur(rng.random((*size, channels), dtype=np.float32), (0, 0), 3).reshape(*size, channels)
    image = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    image[size[0] // 4 : size[0] // 3, size[1] // 5 : size[1] // 2] = 0.9
    return np.asarray(image, dtype=np.float32)


def labels(size: tuple[int, int], number: int = 0) -> NDArray[np.int64]:
    """Class numbers (H, W) in large patches, 255 among them."""
    rng = np.random.default_rng(number)
    coarse = rng.choice(np.array([0, 1, 2, 3, 255]), size=(4, 4)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST), dtype=np.int64)


def batch(images: list[NDArray[np.float32]]) -> Tensor:
    """(B, C, H, W), its memory channels-last as loaders make it."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def drawn(augmentation: DeviceAugmentation, count: int, seed: int = 0) -> Tensor:
    """(B, K) parameters of as many cases."""
    return torch.from_numpy(np.stack([augmentation.draw((seed, 0, number)) for number in range(count)]))


def as_scan(image: Tensor) -> NDArray[np.float32]:
    """(C, H, W) -> (H, W, C)."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
