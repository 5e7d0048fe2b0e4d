"""``--model.weights auto`` in each of its cases, in Python and by flags, and what is kept of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from backbones import available, hub, imagenet
from scansuite.errors import SuiteError
from tasks.auto_weights import settle_weights
from tasks.classify.task import ClassificationTask
from tasks.cli.parser import TaskParser

LITE = "tf_efficientnet_lite0"


@pytest.fixture
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "place_of", lambda name: None)
    monkeypatch.setattr(hub, "hub_answers", lambda: False)


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "place_of", lambda name: "in a place")
    monkeypatch.setattr(hub, "hub_answers", lambda: pytest.fail("the hub was asked"))


@pytest.mark.usefixtures("_here")
def test_weights_on_this_machine_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert settle_weights(LITE) == "imagenet"
    assert caplog.messages == [f"--model.weights auto: imagenet: those of {LITE} are in a place"]


@pytest.mark.usefixtures("_here")
def test_weights_that_would_be_drawn_anew_are_not_loaded() -> None:
    assert settle_weights(LITE, "kaiming") is None


@pytest.mark.usefixtures("_nowhere")
def test_without_weights_training_begins_from_scratch(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert settle_weights(LITE) is None
    assert settle_weights("lenet5") is None
    assert "not on this machine, and" in caplog.messages[0]
    assert caplog.messages[1] == "--model.weights auto: from scratch: nobody has published any for lenet5"


def test_a_hub_that_answers_and_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> None:
        raise SuiteError("no")

    monkeypatch.setattr(available, "place_of", lambda name: None)
    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    monkeypatch.setattr(imagenet, "imagenet_weights", refused)
    assert settle_weights("resnet18") is None
    monkeypatch.setattr(imagenet, "imagenet_weights", lambda name: {})
    assert settle_weights("resnet18") == "imagenet"


@pytest.mark.usefixtures("_nowhere")
def test_a_model_keeps_what_was_used() -> None:
    model = ClassificationTask("resnet18", weights="auto")
    assert model.network.weights is None
    assert model.hparams["weights"] is None


@pytest.mark.usefixtures("_nowhere")
def test_flags_and_configs_are_settled_before_images_have_a_size(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("model:\n  weights: auto\n")
    for words in (["--model.weights", "auto"], ["--config", str(file)], ["--model.weights=auto"]):
        cli = TaskParser("classify", "fit", words, own_flags={}, builds_model=True)
        assert cli.config["model"]["weights"] is None
        assert cli.config["data"]["init_args"]["min_image_size"] == 0
        assert "weights: null" in cli.saved_config()


@pytest.mark.usefixtures("_here")
def test_the_config_says_imagenet_where_it_is(tmp_path: Path) -> None:
    words = ["--model.backbone", LITE, "--model.weights", "auto"]
    cli = TaskParser("classify", "fit", words, own_flags={}, builds_model=True)
    assert cli.config["model"]["weights"] == "imagenet"
    assert cli.config["data"]["init_args"]["min_image_size"] == 128
