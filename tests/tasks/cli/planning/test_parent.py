"""A plan for a training that goes on from a checkpoint: the network that its weights fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.cli.planning.planned_run import planned
from tasks.cli.verbs.fit import OWN_FLAGS
from tests.tasks.test_parent_checkpoint import TASKS, saved

pytestmark = pytest.mark.usefixtures("fixed_data")


def settled(task: str, path: str, *words: str) -> dict[str, Any]:
    """Values of a plan, and the model's flags that come of it with what was typed."""
    with planned(task, ["--model.weights", path, *words], OWN_FLAGS) as run:
        assert run.plan is not None
        return {one.flag: one.value for one in run.plan.planned}


def parent(task: str, folder: Path, **arguments: Any) -> str:
    cls, given, _ = TASKS[task]
    return saved(cls("test_resnet", in_channels=1, **{**given, **arguments}), folder / "parent.ckpt")


@pytest.mark.parametrize(
    ("task", "made"),
    [
        ("segment", {"decoder": "fpn"}),
        ("segment", {"decoder_args": {"decoder_channels": [64, 48, 32, 16, 8]}}),
        ("segment", {"decoder_args": None}),
        ("detect", {"detector": "fcos", "channels": 24}),
        ("detect", {"anchors": [[[side, side]] * 9 for side in (8.0, 16.0, 32.0, 64.0, 96.0)]}),
        ("detect", {"detector": "fcos", "small_lesions": True}),
    ],
)
def test_decoder_and_detector_are_those_of_the_checkpoint(task: str, made: dict[str, Any], tmp_path: Path) -> None:
    values = settled(task, parent(task, tmp_path, **made))
    assert values["model.backbone"] == "test_resnet"
    for name, value in made.items():
        assert values[f"model.{name}"] == value


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    Path(parent("segment", tmp_path, decoder="fpn")).rename(tmp_path / "run" / "checkpoints" / "best.ckpt")
    values = settled("segment", str(tmp_path / "run"))
    assert (values["model.backbone"], values["model.decoder"]) == ("test_resnet", "fpn")


def test_what_is_given_stays(tmp_path: Path) -> None:
    values = settled("segment", parent("segment", tmp_path, decoder="fpn"), "--model.decoder", "unet")
    assert "model.decoder" not in values


def test_of_another_task_the_backbone_alone_is_known(tmp_path: Path) -> None:
    values = settled("segment", parent("classify", tmp_path))
    assert values["model.backbone"] == "test_resnet"
    assert "model.decoder" not in values


def test_images_stay_at_the_size_that_a_classifier_was_trained_at(tmp_path: Path) -> None:
    """Enlarged for ImageNet's weights or not: nothing is enlarged, or made smaller, for weights of one's own."""
    for size, flag in (((48, 40), [48, 40]), ((32, 32), 32)):
        assert settled("classify", parent("classify", tmp_path, input_size=size))["data.image_size"] == flag
    given = settled("classify", parent("classify", tmp_path, input_size=(48, 48)), "--data.image_size", "64")
    assert "data.image_size" not in given
    assert settled("classify", parent("segment", tmp_path, input_size=(48, 48)))["data.image_size"] != 48
