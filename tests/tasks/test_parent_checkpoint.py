"""What a checkpoint in ``--model.weights`` brings: of the same task and classes all of the model, else its backbone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from tasks.base import Task
from tasks.classify.task import ClassificationTask
from tasks.detect.task import DetectionTask
from tasks.segment.task import SegmentationTask

TASKS: dict[str, tuple[type[Task], dict[str, Any], str]] = {
    "classify": (ClassificationTask, {}, "head"),
    "levels": (ClassificationTask, {"head": "levels"}, "head"),
    "segment": (SegmentationTask, {"input_size": (32, 32)}, "decoder"),
    "detect": (DetectionTask, {"channels": 16, "input_size": (64, 64)}, "detector"),
}


def made(cls: type[Task], **arguments: Any) -> Task:
    return cls("test_resnet", in_channels=1, **arguments)


def saved(model: Task, path: Path) -> str:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return str(path)


@pytest.mark.parametrize("name", TASKS)
def test_all_of_a_model_of_the_same_task_and_classes_goes_on(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cls, arguments, part = TASKS[name]
    parent = made(cls, **arguments)
    path = saved(parent, tmp_path / "parent.ckpt")
    with caplog.at_level(logging.INFO):
        child = made(cls, weights=path, **arguments)
    assert f"{part} taken over as well" in caplog.text
    there = child.state_dict()
    for key, tensor in parent.state_dict().items():
        assert torch.equal(tensor, there[key]), key


@pytest.mark.parametrize(
    ("name", "changed", "why"),
    [
        ("classify", {"class_names": ["1", "0"]}, "other classes"),
        ("classify", {"num_classes": 3}, "other classes"),
        ("classify", {"target": "multilabel"}, "another kind of target"),
        ("classify", {"head": "levels"}, "other layers"),
        ("classify", {"loss": "ordinal", "target": "ordinal"}, "another kind of target"),
        ("segment", {"class_names": ["background", "cell"]}, "other classes"),
        ("segment", {"decoder": "fpn"}, "other layers"),
        ("detect", {"detector": "fcos"}, "other layers"),
        ("detect", {"anchors": [9, 18, 36, 72, 144]}, "other anchors"),
    ],
)
def test_a_head_that_says_something_else_begins_anew(
    name: str, changed: dict[str, Any], why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cls, arguments, part = TASKS[name]
    parent = made(cls, **arguments)
    path = saved(parent, tmp_path / "parent.ckpt")
    torch.manual_seed(7)
    drawn = made(cls, **{**arguments, **changed})
    torch.manual_seed(7)
    with caplog.at_level(logging.INFO):
        child = made(cls, weights=path, **{**arguments, **changed})
    assert f"the backbone alone is taken over, what stands behind it had {why}" in caplog.text
    assert torch.equal(next(child.backbone.parameters()), next(parent.backbone.parameters()))
    own, fresh = getattr(child, part).state_dict(), getattr(drawn, part).state_dict()
    assert all(torch.equal(own[key], fresh[key]) for key in fresh)


def test_a_checkpoint_of_another_task_brings_its_backbone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(made(SegmentationTask), tmp_path / "parent.ckpt")
    with caplog.at_level(logging.INFO):
        child = made(ClassificationTask, weights=path)
    assert "taken over" not in caplog.text
    assert child.network.weights == path


def test_the_tensors_of_a_parent_are_not_kept(tmp_path: Path) -> None:
    child = made(ClassificationTask, weights=saved(made(ClassificationTask), tmp_path / "parent.ckpt"))
    assert child._parent is None
