"""Small batches and a small task for tests."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.types import Batch, ScanInfo
from tasks.classify.task import ClassificationTask

KINDS = ("binary", "multiclass", "multilabel", "ordinal", "regression")
NAMES = {
    "binary": ["benign", "malignant"],
    "multiclass": ["a", "b", "c", "d"],
    "multilabel": ["mass", "oedema", "hernia", "effusion"],
    "ordinal": ["0", "1", "2", "3"],
    "regression": ["age"],
}


def small_task(kind: str = "binary", **arguments: Any) -> ClassificationTask:
    """A task with the smallest convolutional network of timm."""
    names = NAMES[kind]
    given = {"class_names": names, "num_classes": len(names), "target": kind, "in_channels": 1, **arguments}
    return ClassificationTask(**{"backbone": "test_resnet", **given})


def small_batch(
    label: Tensor | None,
    image: Tensor | None = None,
    padding: Collection[int] = (),
    names: Sequence[str] | None = None,
    size: int = 32,
) -> Batch:
    """Cases ``c0``, ``c1``, ...; those in ``padding`` are marked as such."""
    if image is None:
        assert label is not None
        image = torch.rand(len(label), 1, size, size)
    scans = [
        ScanInfo(case_id=names[i] if names else f"c{i}", path=f"c{i}.png", original_size=(size, size))
        for i in range(len(image))
    ]
    for position in padding:
        scans[position]["padding"] = True
    batch = Batch(image=image, scan=scans)
    if label is not None:
        batch["label"] = label
    return batch


def random_labels(kind: str, n: int, seed: int = 0) -> Tensor:
    """Targets of a kind: every class and both states of each label occur, some cells are unknown."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "regression":
        return 40 + 20 * torch.randn(n, generator=generator)
    if kind == "multilabel":
        label = (torch.rand(n, len(NAMES[kind]), generator=generator) < 0.4).float()
        return label.masked_fill(torch.rand(label.shape, generator=generator) < 0.2, torch.nan)
    return torch.arange(n)[torch.randperm(n, generator=generator)] % len(NAMES[kind])
