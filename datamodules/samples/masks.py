"""Masks as a part of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.preprocess import Preprocess
from datamodules.samples.annotation import Annotation, Crop
from datamodules.samples.label_values import IGNORE
from datamodules.types import Sample, Scan


@dataclass(frozen=True)
class Masks(Annotation[NDArray[Any]]):
    """Class numbers (H, W), or regions (L, H, W) of 0 and 1; ``sample["mask"]`` is int64.

    Attributes:
        read_mask: row number of an image, and its scan -> the mask on the scan's grid.
    """

    read_mask: Callable[[int, Scan], NDArray[Any]]

    names: ClassVar[tuple[str, ...]] = ("mask",)
    by_batch: ClassVar[bool] = True

    def read(self, image: int, scan: Scan) -> NDArray[Any]:
        """The mask of an image."""
        return self.read_mask(image, scan)

    def scale(self, value: NDArray[Any], stored: tuple[int, int], preprocess: Preprocess) -> NDArray[Any]:
        """The mask on the model's image, by nearest neighbour."""
        return preprocess.mask(value)

    def crop(self, value: NDArray[Any], crop: Crop) -> NDArray[Any]:
        """A part of the mask; what is missing below and on the right repeats the last row and column."""
        height, width = crop.size
        part = value[..., crop.top : crop.top + height, crop.left : crop.left + width]
        missing = [(0, 0)] * (value.ndim - 2) + [(0, height - part.shape[-2]), (0, width - part.shape[-1])]
        return np.pad(part, missing, mode="edge")

    def join(
        self, values: Sequence[NDArray[Any]], corners: Sequence[tuple[int, int]], size: tuple[int, int]
    ) -> NDArray[Any]:
        """The masks laid side by side; the rest is 0."""
        whole = np.zeros((*values[0].shape[:-2], *size), values[0].dtype)
        for value, (row, column) in zip(values, corners, strict=True):
            whole[..., row : row + value.shape[-2], column : column + value.shape[-1]] = value
        return whole

    def arrays(self, value: NDArray[Any]) -> dict[str, Any]:
        """The mask as it is."""
        return {"mask": value}

    def tensors(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """``mask``: (H, W) or (L, H, W) int64."""
        return {"mask": torch.from_numpy(arrays["mask"]).long()}

    def stored_tensors(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """``mask`` in its own type, an eighth of int64."""
        return {"mask": torch.from_numpy(arrays["mask"])}

    def foreground(
        self, value: NDArray[Any], patch: tuple[int, int], free: tuple[int, int], rng: np.random.Generator
    ) -> tuple[int, int] | None:
        """A patch about a pixel of a class, all pixels alike."""
        if not any(free):
            return None
        inside = (value > 0) & (value < IGNORE)
        places = np.flatnonzero(inside.any(axis=0) if value.ndim == 3 else inside)
        if not len(places):
            return None
        centre = divmod(int(places[rng.integers(len(places))]), value.shape[-1])
        top, left = (
            min(max(0, middle - part // 2), most) for middle, part, most in zip(centre, patch, free, strict=True)
        )
        return top, left

    def memory(self, first: NDArray[Any], count: int, *, one_size: bool) -> MutableSequence[NDArray[Any]]:
        """One array where images have one size."""
        if not one_size:
            return super().memory(first, count, one_size=one_size)
        return cast("MutableSequence[NDArray[Any]]", np.empty((count, *first.shape), first.dtype))

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """``mask``: (B, H, W) or (B, L, H, W)."""
        return {"mask": torch.stack([sample["mask"] for sample in samples])}
