"""Images and masks as stored, made what the model sees by tensor code, on the device where the model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from datamodules.preprocess import LUMINANCE, Preprocess
from datamodules.samples.moving import MovingBatch
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.types import Batch, Sample


@torch.no_grad()
def model_images(stored: Tensor, limits: Tensor, spec: Preprocess) -> Tensor:
    """Turn values as stored into those that the model sees; :meth:`.Preprocess.scaled` for a batch on any device.

    Each step is one operation of IEEE 754, rounded as numpy rounds it, so that the values are equal bit for bit, but
    for the sign of 0. An exponent (``gamma``) is the device's own ``pow``: at most 8 units in the last place from
    numpy's.

    Args:
        stored: (B, c, H, W) uint8, uint16, int16 or float32; not changed.
        limits: (B, 2, K) float32 on the same device: :attr:`.OpenedImage.limits` of each.
        spec: of all of them.

    Returns:
        (B, C, H, W) float32 in [0, 1], channels last in memory.
    """
    values = stored.permute(0, 2, 3, 1).to(torch.float32)
    wanted = 1 if len(spec.windows) > 1 else spec.channels
    if values.shape[3] != 1 and wanted == 1:
        grey = values[..., 0] * float(LUMINANCE[0])
        for channel in (1, 2):
            grey += values[..., channel] * float(LUMINANCE[channel])
        values = grey[..., None]
    lower, width = limits[:, None, None].unbind(3)
    image = values - lower
    image /= width
    image.clamp_(0, 1)
    if spec.gamma != 1:
        image.pow_(spec.gamma)
    return image.expand(-1, -1, -1, spec.channels).contiguous().permute(0, 3, 1, 2)


def finish(batch: Batch, spec: Preprocess, augmentation: DeviceAugmentation | None = None) -> Batch:
    """A batch as the model sees it, of one as stored; nothing waits for the device.

    Args:
        batch: on the device: ``image`` with ``limits`` as stored, or else as the model sees it; ``augment``, the
            parameters of each image, where there is an augmentation; ``mask`` of any integer type.
        spec: of the images.
        augmentation: of the device.
    """
    finished = cast("Batch", MovingBatch(batch))
    image, mask = finished["image"], finished.get("mask")
    if "limits" in finished:
        image = model_images(image, finished.pop("limits"), spec)
    if "augment" in finished and augmentation is not None:
        image, mask = augmentation.apply(image, finished.pop("augment"), mask)
    finished["image"] = image
    if mask is not None:
        finished["mask"] = mask.long()
    return finished


def alike(samples: Sequence[Sample], spec: Preprocess) -> Sequence[Sample]:
    """Samples that can be put together: as they are, or as the model sees them where their stored types differ.

    Args:
        samples: images, or bags of images.
        spec: of the images.
    """
    kinds = {(sample["image"].dtype, sample["image"].shape[-3], "limits" in sample) for sample in samples}
    return samples if len(kinds) == 1 else [_as_seen(sample, spec) for sample in samples]


def _as_seen(sample: Sample, spec: Preprocess) -> Sample:
    if "limits" not in sample:
        return sample
    seen = cast("Sample", dict(sample))
    stored, limits = seen["image"], seen.pop("limits")
    image = model_images(stored.view(-1, *stored.shape[-3:]), limits.view(-1, *limits.shape[-2:]), spec)
    seen["image"] = image if stored.ndim == 4 else image[0]
    return seen
