"""Small batches with masks and a small task for tests."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from datamodules.types import Batch, ScanInfo
from tasks.segment.task import SegmentationTask

CLASSES = ["background", "organ", "lesion"]


def small_task(**arguments: Any) -> SegmentationTask:
    """A task with the smallest convolutional network of timm and a thin decoder."""
    given = {"class_names": CLASSES, "num_classes": 3, "in_channels": 1, **arguments}
    if given.get("decoder", "unet") == "unet":
        given.setdefault("decoder_args", {"decoder_channels": [16, 16, 8, 8, 8]})
    return SegmentationTask(**{"backbone": "test_resnet", **given})


def small_batch(
    images: int = 3,
    *,
    size: tuple[int, int] = (32, 32),
    regions: int = 0,
    masks: bool = True,
    padding: Collection[int] = (),
    seed: int = 0,
) -> Batch:
    """Cases ``c0``, ``c1``, ... with random masks of three classes, or of ``regions`` that overlap."""
    generator = torch.Generator().manual_seed(seed)
    scans = [ScanInfo(case_id=f"c{i}", path=f"c{i}.png", original_size=size) for i in range(images)]
    for position in padding:
        scans[position]["padding"] = True
    batch = Batch(image=torch.rand(images, 1, *size, generator=generator), scan=scans)
    if masks:
        shape = (images, regions, *size) if regions else (images, *size)
        batch["mask"] = torch.randint(2 if regions else 3, shape, generator=generator)
    return batch
