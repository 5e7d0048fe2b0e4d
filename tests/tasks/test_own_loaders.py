"""Batches of the user's own, which know nothing of scans, train a task; so do our data with torch's loaders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.phantoms import boxes, labels, masks
from tasks.batches import count_cases, without_padding
from tasks.classify.task import ClassificationTask
from tasks.detect.task import DetectionTask
from tasks.segment.task import SegmentationTask

SIDE = 32


def task_of(kind: str, channels: int = 1) -> LightningModule:
    facts: dict[str, Any] = {"in_channels": channels, "input_size": (SIDE, SIDE), "lr": 1e-3}
    if kind == "classify":
        return ClassificationTask("small_cnn", num_classes=2, **facts)
    if kind == "segment":
        return SegmentationTask("resnet10t", num_classes=4, **facts)
    return DetectionTask("resnet10t", num_classes=2, channels=32, **facts)


def own_samples(kind: str, count: int = 6) -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(0)
    samples: list[dict[str, Any]] = []
    for number in range(count):
        sample: dict[str, Any] = {"image": torch.rand(1, SIDE, SIDE, generator=random)}
        if kind == "classify":
            sample["label"] = number % 2
        elif kind == "segment":
            sample["mask"] = torch.randint(4, (SIDE, SIDE), generator=random)
        else:
            sample |= {
                "boxes": torch.tensor([[4.0, 4, 12, 14]] * (number % 3)),
                "labels": torch.zeros(number % 3).long(),
            }
        samples.append(sample)
    return samples


def lists_of_boxes(samples: list[dict[str, Any]]) -> dict[str, Any]:
    batch: dict[str, Any] = {name: [sample[name] for sample in samples] for name in ("boxes", "labels")}
    return {**batch, "image": torch.stack([sample["image"] for sample in samples])}


def trained(model: LightningModule, train: Any, val: Any) -> dict[str, Tensor]:
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer.fit(model, train, val)
    assert any(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    metrics = dict(trainer.callback_metrics)
    assert torch.isfinite(metrics["train/loss"])
    assert torch.isfinite(metrics["val/loss"])
    return metrics


@pytest.mark.parametrize(("kind", "metric"), [("classify", "auroc"), ("segment", "dice"), ("detect", "map")])
def test_a_loader_of_the_users_own_trains_a_task(kind: str, metric: str) -> None:
    how: dict[str, Any] = {"batch_size": 3, "collate_fn": lists_of_boxes if kind == "detect" else None}
    loader: Any = DataLoader(own_samples(kind), **how)  # type: ignore[arg-type]
    model = task_of(kind)
    assert f"val/{metric}" in trained(model, loader, loader)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (tested,) = trainer.test(model, loader, verbose=False)
    assert f"test/{metric}" in tested


@pytest.mark.parametrize(
    ("kind", "data_class"), [("classify", labels.Phantoms), ("segment", masks.Phantoms), ("detect", boxes.Phantoms)]
)
def test_our_data_set_in_a_loader_of_torchs_trains_a_task(kind: str, data_class: Any) -> None:
    data = data_class(num_patients=8, image_size=SIDE, num_workers=0, test_fraction=0.0, folds=3)
    dataset = data.dataset(np.arange(8), augmented=True)
    loader: Any = DataLoader(dataset, batch_size=4, shuffle=True)
    other: Any = DataLoader(data.dataset(np.arange(8, 12)), batch_size=4)
    trained(task_of(kind, data.in_channels), loader, other)


def test_cases_are_counted_by_what_a_batch_has() -> None:
    batch: Any = {"image": torch.zeros(5, 1, 2, 2), "label": torch.zeros(5)}
    assert (count_cases(batch), without_padding(batch)) == (5, [0, 1, 2, 3, 4])
    bags: Any = {**batch, "bags": [["a"] * 2, ["b"] * 3]}
    assert (count_cases(bags), without_padding(bags)) == (2, [0, 1])
    marked: Any = {**batch, "scan": [{}, {"padding": True}, {}, {}, {"padding": True}]}
    assert (count_cases(marked), without_padding(marked)) == (5, [0, 2, 3])
    assert count_cases({"image": torch.empty(0), "scan": []}) == 0
