"""No task has a trainable parameter that takes no part in its loss: plain data-parallel training would stop on it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tasks.base import Task
from tasks.classify.task import ClassificationTask
from tasks.compression.features import Pair, Projections
from tasks.detect.task import DetectionTask
from tasks.segment.task import SegmentationTask

SIDE = 64
VARIANTS: list[tuple[type[Task], dict[str, Any]]] = [
    *((ClassificationTask, {"head": head}) for head in ("pool", "levels", "mlp", "flatten", "native")),
    *((ClassificationTask, {"aggregate": name}) for name in ("mean", "max", "topk", "attention")),
    (ClassificationTask, {"aggregate": "attention", "attention_gated": True}),
    *((ClassificationTask, {"target": target}) for target in ("multilabel", "ordinal", "regression")),
    (ClassificationTask, {"freeze": "backbone"}),
    (ClassificationTask, {"grad_checkpointing": True}),
    (ClassificationTask, {"backbone": "test_vit"}),
    *((SegmentationTask, {"decoder": name}) for name in (
        "unet", "unetplusplus", "fpn", "pspnet", "linknet", "manet", "upernet", "segformer", "deeplabv3plus",
    )),
    (SegmentationTask, {"decoder": "unet", "deep_supervision": True}),
    (SegmentationTask, {"decoder": "unet", "deep_supervision": True, "grad_checkpointing": True}),
    (SegmentationTask, {"freeze": "backbone"}),
    *((DetectionTask, {"detector": name, "channels": 16}) for name in ("retinanet", "fcos", "faster_rcnn")),
    (DetectionTask, {"small_lesions": True, "channels": 16}),
    (DetectionTask, {"freeze": "backbone", "channels": 16}),
]  # fmt: skip


def batch_of(task: Task, flags: dict[str, Any]) -> Any:
    """Two cases; one of them without a box, and without a pixel of a class."""
    generator = torch.Generator().manual_seed(0)
    batch: Any = {"image": torch.rand(2, 1, SIDE, SIDE, generator=generator)}
    if task.name == "segment":
        return {**batch, "mask": torch.zeros(2, SIDE, SIDE, dtype=torch.int64)}
    if task.name == "detect":
        boxes = [torch.tensor([[4.0, 5, 40, 44]]), torch.zeros(0, 4)]
        return {**batch, "boxes": boxes, "labels": [torch.tensor([1]), torch.zeros(0, dtype=torch.int64)]}
    label = torch.tensor([0, 1])
    if flags.get("target") == "multilabel":
        label = torch.tensor([[0.0, 1, 0], [1, torch.nan, 0]])
    batch["label"] = label.float() if flags.get("target") == "regression" else label
    if "aggregate" in flags:
        batch |= {"image": torch.rand(5, 1, SIDE, SIDE, generator=generator), "bags": [[None] * 2, [None] * 3]}
    return batch


@pytest.mark.parametrize(
    ("cls", "flags"), VARIANTS, ids=lambda value: value.__name__ if isinstance(value, type) else str(value)
)
def test_every_trainable_parameter_gets_a_gradient(cls: type[Task], flags: dict[str, Any]) -> None:
    torch.manual_seed(0)
    facts: dict[str, Any] = {"num_classes": 1 if flags.get("target") == "regression" else 3, "in_channels": 1}
    task = cls(**{"backbone": "test_resnet", "input_size": (SIDE, SIDE), **facts, **flags}).train()
    task.training_step(batch_of(task, flags), 0).backward()  # type: ignore[no-untyped-call]
    assert [name for name, one in task.named_parameters() if one.requires_grad and one.grad is None] == []
    assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in task.parameters())


def test_projections_of_a_student_take_part_though_a_rank_has_no_image() -> None:
    projections = Projections([Pair(0, 0, (3, 5))])
    projections([torch.zeros(0, 3, 4, 4)], [torch.zeros(0, 5, 4, 4)]).backward()
    assert all(parameter.grad is not None for parameter in projections.parameters())
