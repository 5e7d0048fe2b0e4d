"""The augmentation of whole batches on the device of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.transforms.device import parameters
from datamodules.transforms.device.boxes import move_boxes
from datamodules.transforms.device.places import move_image, move_mask, sampling_grid
from datamodules.transforms.device.values import change_values
from datamodules.transforms.names import AugmentConfig


@dataclass(frozen=True)
class DeviceAugmentation:
    """A preset as tensor code, with the ranges, chances and order of the CPU's pipeline.

    The parameters of a case are drawn in a loader's process (:meth:`draw`), boxes moved there (:meth:`move_boxes`), and
    images and masks augmented by batch (:meth:`apply`) on any device. What becomes of a case depends on its seed words
    alone: neither on the other cases of its batch nor, beyond rounding, on the device.

    Attributes:
        config: ranges.
        channels: of the images.
        size: (H, W) of the images, before and after.
    """

    config: AugmentConfig
    channels: int
    size: tuple[int, int]

    @property
    def length(self) -> int:
        """Number of parameters of a case."""
        return parameters.length(self.config)

    def draw(self, seed: Sequence[int]) -> NDArray[np.float32]:
        """The parameters of a case.

        Args:
            seed: non-negative integers, for example (seed, epoch, position); equal words, equal parameters.

        Returns:
            (:attr:`length`,) float32.
        """
        return parameters.draw(self.config, self.size, seed)

    def move_boxes(
        self, params: NDArray[np.float32], boxes: NDArray[np.float32], labels: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Boxes and labels of a case on its augmented image.

        Args:
            params: (K,) of :meth:`draw`.
            boxes: (N, 4) float32 xyxy in pixels.
            labels: (N,).

        Returns:
            (M, 4) boxes, clipped, and dropped with less than a tenth of their area left; (M,) labels.
        """
        moved, kept = move_boxes(params, boxes, self.size)
        return moved, labels[kept]

    def __call__(
        self,
        image: NDArray[np.float32],
        seed: Sequence[int],
        mask: NDArray[Any] | None = None,
        boxes: NDArray[np.float32] | None = None,
        labels: NDArray[Any] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Augment one case where it is, as :class:`~datamodules.transforms.pipeline.Augmentation` is called.

        Raises:
            ValueError: boxes came without labels, or the image has another shape.
        """
        params = self.draw(seed)
        whole = None if mask is None else torch.from_numpy(np.ascontiguousarray(mask))[None]
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        result, moved = self.apply(pixels, torch.from_numpy(params)[None], whole)
        sample: dict[str, NDArray[Any]] = {"image": np.ascontiguousarray(result[0].permute(1, 2, 0).numpy())}
        if moved is not None:
            sample["mask"] = moved[0].numpy()
        if boxes is not None:
            if labels is None:
                raise ValueError("boxes need labels")
            sample["boxes"], sample["labels"] = self.move_boxes(params, boxes, labels)
        return sample

    @torch.no_grad()
    def apply(self, image: Tensor, params: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Augment a batch, without waiting for its device.

        Args:
            image: (B, C, H, W) float32 in [0, 1]; not changed.
            params: (B, K) float32 on the same device, of :meth:`draw`.
            mask: (B, H, W) or (B, L, H, W) integers on the same device.

        Returns:
            The image, in [0, 1] and its memory in the order of what was given, and the mask; pixels from outside are 0.

        Raises:
            ValueError: shapes that do not fit, or an image of another type.
        """
        expected = (len(params), self.channels, *self.size)
        if image.shape != expected or image.dtype != torch.float32 or params.shape[1:] != (self.length,):
            raise ValueError(
                f"images {tuple(image.shape)} {image.dtype} with parameters {tuple(params.shape)}: expected {expected} "
                f"torch.float32 with ({len(params)}, {self.length})"
            )
        config, given = self.config, image
        with torch.autocast(image.device.type, enabled=False):
            image = change_values(given, params, config)
            between = bool(config.rotation or config.scale or config.elastic)
            if between or config.shift or config.horizontal_flip or config.vertical_flip or config.quarter_turns:
                grid = sampling_grid(params, self.size, elastic=bool(config.elastic))
                image = move_image(
                    image, grid, params[:, parameters.MOVED] if between else None, torch.empty_like(given)
                )
                mask = None if mask is None else move_mask(mask, grid)
            elif image.stride() != given.stride():
                image = torch.empty_like(given).copy_(image)
        return image, mask
