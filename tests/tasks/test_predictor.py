"""What others may ask of a model, of one and of several; a task that lacks a part of itself cannot be made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.classify.ensemble import ClassificationEnsemble
from tasks.classify.task import ClassificationTask
from tasks.detect.ensemble import DetectionEnsemble
from tasks.detect.evaluator import DetectionEvaluator
from tasks.detect.task import DetectionTask
from tasks.ensemble import Ensemble
from tasks.predictor import Predictor
from tasks.running.evaluator import Evaluator
from tasks.segment.ensemble import SegmentationEnsemble
from tasks.segment.evaluator import SegmentationEvaluator
from tasks.segment.task import SegmentationTask

PREPROCESS = Preprocess(size=None, channels=1, percentiles=(1.0, 99.0), zoom=2.0)
SLICES = SliceSpec(plane="coronal", spacing=(1.0, 2.0))
FLAGS: dict[str, Any] = {
    "backbone": "test_resnet", "in_channels": 1, "input_size": [32, 64], "num_classes": 3,
    "class_names": ["a", "b", "c"], "preprocess": PREPROCESS.to_dict(),
}  # fmt: skip
CUT: dict[str, Any] = {"slices": SLICES.to_dict()}


def models() -> list[tuple[Predictor, bool, float]]:
    """Each task, alone and twice; whether it has slices; how far its tiles overlap."""
    made: list[tuple[Predictor, bool, float]] = []
    classify = [ClassificationTask(**FLAGS, **CUT) for _ in range(2)]
    segment = [SegmentationTask(**FLAGS, **CUT, overlap=0.75, nsd_tolerance=3.0) for _ in range(2)]
    detect = [DetectionTask(**FLAGS, overlap=0.1, channels=32, froc_iou=0.3) for _ in range(2)]
    made += [(classify[0], True, 0.0), (ClassificationEnsemble(classify, ["1", "2"]), True, 0.0)]
    made += [(segment[0], True, 0.75), (SegmentationEnsemble(segment, ["1", "2"]), True, 0.75)]
    made += [(detect[0], False, 0.1), (DetectionEnsemble(detect, ["1", "2"]), False, 0.1)]
    return made


def test_one_model_and_several_say_the_same_of_themselves() -> None:
    for model, cut, overlap in models():
        assert model.preprocess == PREPROCESS, model.name
        assert model.slices == (SLICES if cut else None), model.name
        assert model.tile == (None if model.name == "classify" else (32, 64))
        assert model.overlap == overlap
        assert model.class_names == ["a", "b", "c"]
        assert (model.in_channels, model.input_size) == (1, (32, 64))
        assert model.operating_points == {}
        assert not model.exact


def test_what_task_json_says_is_plain_and_of_one_model_and_several_alike() -> None:
    evaluators: list[Evaluator[Any, Any]] = [SegmentationEvaluator(), DetectionEvaluator()]
    for evaluator, (one, *_), (several, *_) in zip(evaluators, models()[2::2], models()[3::2], strict=True):
        assert evaluator.run_task(one) == evaluator.run_task(several)
        assert evaluator.run_task(one)["preprocess"] == PREPROCESS.to_dict()


def test_a_task_that_lacks_a_part_of_itself_cannot_be_made() -> None:
    class Incomplete(Task):
        name = "incomplete"

    for cls in (Task, Incomplete, Ensemble):
        with pytest.raises(TypeError, match="abstract"):
            cls()  # type: ignore[abstract,call-arg]


def test_a_model_that_was_told_nothing_of_its_images_takes_them_as_stored() -> None:
    model = ClassificationTask("test_resnet", in_channels=2)
    assert model.preprocess == Preprocess(size=None, channels=2)
    assert model.hparams.get("preprocess") is None  # a checkpoint keeps what was given
    assert model.input_size is None


def test_what_changes_after_the_constructor_is_kept_in_the_checkpoint_too() -> None:
    model = ClassificationTask("test_resnet", lr=0.1)
    model.set_lr(0.02)
    model.note_weights("imagenet")
    assert (model.optimization.lr, model.network.weights) == (0.02, "imagenet")
    assert {"lr": 0.02, "weights": "imagenet"}.items() <= dict(model.hparams).items()
    with pytest.raises(FrozenInstanceError):
        model.optimization.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"lr": -1.0}, "--model.lr -1.0: must be at least 0"),
        ({"layer_decay": 0.0}, "--model.layer_decay 0.0: must be above 0 and at most 1"),
        ({"drop_path": 1.0}, "--model.drop_path 1.0: must be at least 0 and below 1"),
        ({"ema": 1.0}, "--model.ema 1.0: must be above 0 and below 1"),
        ({"early_stopping": 0}, "--model.early_stopping 0: must be at least 1"),
        ({"teacher": "a.ckpt", "distill_alpha": 0.0}, "--model.teacher: nothing is learnt from it"),
        ({"distill_features": 1.0}, "there is nobody to learn from"),
        ({"prune": "magnitude", "prune_amount": 1.0}, "--model.prune_amount 1.0: must be at least 0 and below 1"),
        ({"class_names": ["a"]}, "2 classes, but 1 class names"),
        ({"preprocess": {"size": [8, 8], "later": 1}}, "unknown fields later"),
    ],
)
@pytest.mark.parametrize("task", [ClassificationTask, SegmentationTask, DetectionTask])
def test_each_task_refuses_what_the_base_declares(task: type[Task], flags: dict[str, Any], said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        task(**{"backbone": "test_resnet", "num_classes": 2, **flags})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
