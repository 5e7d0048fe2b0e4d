"""Small models of every task with a batch each, one for each kind of loss: what a training step meets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from datamodules.types import Batch
from tasks.base import Task
from tasks.detect.task import DetectionTask
from tests.tasks.classify.batches import random_labels, small_batch, small_task
from tests.tasks.segment.batches import small_batch as mask_batch
from tests.tasks.segment.batches import small_task as mask_task

Case = tuple[Task, Batch]
SIDE = 64


def _classify(kind: str = "binary", **flags: Any) -> Case:
    return small_task(kind, input_size=(32, 32), **flags), small_batch(random_labels(kind, 6))


def _bags(aggregate: str) -> Case:
    model = small_task(aggregate=aggregate, input_size=(32, 32))
    batch = small_batch(random_labels("binary", 2), torch.rand(5, 1, 32, 32))
    scans: Any = batch["scan"]
    batch["bags"] = [scans[:2], scans[2:]]
    batch["scan"] = [scans[0], scans[2]]
    return model, batch


def _mixed() -> Case:
    model, batch = _classify("multiclass")
    batch["label_other"] = batch["label"].flip(0)
    batch["label_share"] = torch.full((6,), 0.7)
    return model, batch


def _segment(regions: int = 0, **flags: Any) -> Case:
    names = {"class_names": ["a", "b"], "num_classes": 2, "overlapping": True} if regions else {}
    return mask_task(input_size=(32, 32), **names, **flags), mask_batch(regions=regions)


def _detect(detector: str, **flags: Any) -> Case:
    given: dict[str, Any] = {"input_size": (SIDE, SIDE), "in_channels": 1, "num_classes": 2, "channels": 32, **flags}
    model = DetectionTask("test_resnet", detector=detector, **given)
    batch = Batch(image=torch.rand(3, 1, SIDE, SIDE), scan=[{"case_id": f"c{i}"} for i in range(3)])
    batch["boxes"] = [
        torch.tensor([[4.0, 6.0, 30.0, 40.0], [20.0, 20.0, 60.0, 50.0]]),
        torch.tensor([[10.0, 10.0, 26.0, 24.0]]),
        torch.zeros(0, 4),
    ]
    batch["labels"] = [torch.tensor([0, 1]), torch.tensor([1]), torch.zeros(0, dtype=torch.int64)]
    return model, batch


CASES: dict[str, Callable[[], Case]] = {
    **{kind: partial(_classify, kind) for kind in ("binary", "multiclass", "multilabel", "ordinal")},
    "regression": lambda: _classify("regression"),
    "huber": lambda: _classify("regression", loss="huber"),
    "focal": lambda: _classify("multiclass", loss="focal", class_weights=[1.0, 2.0, 1.0, 1.0]),
    "focal of labels": lambda: _classify("multilabel", loss="focal"),
    "smoothed": lambda: _classify("multiclass", label_smoothing=0.1),
    "brier": lambda: _classify("multiclass", loss="mse"),
    "mixup": _mixed,
    "native head": lambda: _classify(head="native"),
    **{f"bags, {name}": partial(_bags, name) for name in ("mean", "max", "attention")},
    **{
        loss: partial(_segment, loss=loss)
        for loss in ("dice_ce", "cross_entropy", "dice", "tversky", "focal_tversky", "lovasz")
    },
    "focal of pixels": lambda: _segment(loss="focal"),
    "regions": lambda: _segment(regions=2),
    "dice by image": lambda: _segment(loss="dice", batch_dice=False),
    "deep supervision": lambda: _segment(deep_supervision=True),
    "retinanet": lambda: _detect("retinanet"),
    "retinanet, giou": lambda: _detect("retinanet", box_loss="giou"),
    "retinanet, l1": lambda: _detect("retinanet", box_loss="l1"),
    "fcos": lambda: _detect("fcos"),
    "fcos, ciou": lambda: _detect("fcos", box_loss="ciou"),
}
# torchvision's proposals: how many are left after non-maximum suppression, and which are sampled, the host must know.
WAITING: dict[str, Callable[[], Case]] = {
    "faster_rcnn": lambda: _detect("faster_rcnn"),
    "boundary": lambda: _segment(loss="boundary"),  # distances are computed on the CPU
}
