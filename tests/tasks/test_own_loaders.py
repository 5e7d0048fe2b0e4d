"""Batches of the user's own, which know nothing of scans, train a task; so do our data with torch's loaders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from datamodules.phantoms import boxes, labels, masks
from scansuite.errors import SuiteError
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


def batches_of(kind: str, **changed: Any) -> Any:
    """A loader of two batches, in which some parts are others; None takes one away."""
    samples = own_samples(kind, 2)
    whole: dict[str, Any] = lists_of_boxes(samples) if kind == "detect" else dict(next(iter(DataLoader(samples, 2))))  # type: ignore[arg-type]
    batch = {key: value for key, value in {**whole, **changed}.items() if value is not None}
    return DataLoader([batch, batch], batch_size=None)  # type: ignore[arg-type]


IMAGES = torch.zeros(2, 1, SIDE, SIDE)
ONE = [torch.zeros(1).long()] * 2


@pytest.mark.parametrize(
    ("kind", "changed", "line"),
    [
        ("classify", {"image": None, "img": IMAGES}, "no 'image': it has label, img"),
        ("classify", {"image": IMAGES[:, 0]}, r"image of shape \(2, 32, 32\) .* expected \(B, 1, H, W\)"),
        ("classify", {"image": IMAGES.permute(0, 2, 3, 1)}, r"image of shape \(2, 32, 32, 1\)"),
        ("classify", {"image": IMAGES.repeat(1, 3, 1, 1)}, r"image of shape \(2, 3, 32, 32\)"),
        ("classify", {"image": IMAGES.byte()}, "type uint8: expected .* float32 from 0 to 1"),
        ("classify", {"image": IMAGES.double()}, "type float64"),
        ("classify", {"label": None}, "no 'label': it has image"),
        ("classify", {"label": torch.zeros(2, 1).long()}, r"label of shape \(2, 1\) .* class numbers of shape \(2,\)"),
        ("classify", {"label": torch.zeros(2)}, "label of shape .* type float32: expected int64"),
        ("classify", {"label": torch.tensor([0, 2])}, "class 2 in label: there are 2"),
        ("classify", {"label": torch.tensor([0, -1])}, "class -1 in label"),
        ("segment", {"mask": None}, "no 'mask'"),
        ("segment", {"mask": torch.zeros(2, 1, SIDE, SIDE).long()}, r"mask of shape \(2, 1, 32, 32\)"),
        ("segment", {"mask": torch.full((2, SIDE, SIDE), 4)}, "class 4 in mask: there are 4"),
        ("detect", {"labels": None}, "no 'labels'"),
        ("detect", {"boxes": [torch.zeros(0, 4)], "labels": [torch.zeros(0).long()]}, "boxes of 1 images, but 2"),
        (
            "detect",
            {"boxes": [torch.ones(1, 5)] * 2, "labels": ONE},
            r"boxes of shape \(1, 5\)",
        ),
        ("detect", {"boxes": [torch.ones(1, 4)] * 2, "labels": ONE}, "a box without area"),
        (
            "detect",
            {"boxes": [torch.ones(1, 4)] * 2, "labels": [torch.zeros(1)] * 2},
            "labels of shape .* type float32",
        ),
    ],
)
def test_what_a_loader_gives_amiss_is_said_before_training(kind: str, changed: dict[str, Any], line: str) -> None:
    loader = batches_of(kind, **changed)
    with pytest.raises(SuiteError, match=line) as caught:
        trained(task_of(kind), loader, loader)
    assert "\n" not in str(caught.value)


def test_what_is_predicted_is_looked_at_too() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    with pytest.raises(SuiteError, match="a batch of the loader is a Tensor"):
        trainer.predict(task_of("segment"), DataLoader(IMAGES, batch_size=2))  # type: ignore[arg-type]
    with pytest.raises(SuiteError, match=r"image of shape \(2, 1, 1, 32, 32\)"):
        trainer.predict(task_of("detect"), batches_of("detect", image=IMAGES[:, None]))


def test_pairs_of_image_and_label_are_no_batch() -> None:
    loader: Any = DataLoader(TensorDataset(IMAGES, torch.zeros(2).long()), batch_size=2)
    with pytest.raises(SuiteError, match="a batch of the loader is a list: expected a dictionary of image, label"):
        trained(task_of("classify"), loader, loader)


@pytest.mark.parametrize(("kind", "shape"), [("multilabel", (2, 3)), ("regression", (2,))])
def test_labels_of_other_targets_have_their_shape(kind: Any, shape: tuple[int, ...]) -> None:
    classes = 3 if kind == "multilabel" else 1
    model = ClassificationTask("small_cnn", target=kind, num_classes=classes, in_channels=1, input_size=(SIDE, SIDE))
    right, wrong = batches_of("classify", label=torch.zeros(shape)), batches_of("classify", label=torch.zeros(2, 2))
    trained(model, right, right)
    with pytest.raises(SuiteError, match=r"label of shape \(2, 2\) .* expected shape"):
        trained(model, wrong, wrong)


def test_cases_are_counted_by_what_a_batch_has() -> None:
    batch: Any = {"image": torch.zeros(5, 1, 2, 2), "label": torch.zeros(5)}
    assert (count_cases(batch), without_padding(batch)) == (5, [0, 1, 2, 3, 4])
    bags: Any = {**batch, "bags": [["a"] * 2, ["b"] * 3]}
    assert (count_cases(bags), without_padding(bags)) == (2, [0, 1])
    marked: Any = {**batch, "scan": [{}, {"padding": True}, {}, {}, {"padding": True}]}
    assert (count_cases(marked), without_padding(marked)) == (5, [0, 2, 3])
    assert count_cases({"image": torch.empty(0), "scan": []}) == 0
