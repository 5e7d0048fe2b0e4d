"""Network and weights from what can be had, what trains, and the images."""

from __future__ import annotations

from typing import Any

import pytest

from datamodules.fingerprint.fingerprint import Fingerprint, Spread
from tasks.planning.budget import Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.settle.network import (
    ON_CPU,
    ON_GPU,
    ON_GPU_BEST,
    SCRATCH,
    WITH_WEIGHTS,
    goes_on,
    network,
    pretrained,
)

DEFAULTS: dict[str, Any] = {"model.backbone": "resnet18", "model.weights": None, "model.init": "default"}


def _planned(machine: Machine, side: float = 300, given: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    size = Spread(side, side, side, side, side)
    fingerprint = Fingerprint(more.get("task", "classify"), height=size, width=size, channels=more.get("channels", 3))
    draft = Draft(fingerprint, machine, Budget(more.get("quality", "good")), given or {}, DEFAULTS)
    network(draft)
    return {flag: one.value for flag, one in draft.planned.items()}


HERE = Machine("cpu", weights=("tf_efficientnet_lite0",))


def test_a_processor_takes_a_light_network_whose_weights_are_here() -> None:
    assert _planned(HERE) == {"model.backbone": ON_CPU.name, "model.weights": "imagenet"}


def test_without_weights_a_small_network_begins_from_scratch() -> None:
    assert _planned(Machine("cpu")) == {"model.backbone": SCRATCH.name, "model.weights": None}


def test_a_gpu_takes_a_larger_one_where_it_can_be_fetched_and_else_what_is_here() -> None:
    hub = Machine("cuda", hub=WITH_WEIGHTS)
    assert _planned(hub)["model.backbone"] == ON_GPU.name
    assert _planned(hub, quality="best")["model.backbone"] == ON_GPU_BEST.name
    both = Machine("cuda", weights=(ON_CPU.name, ON_GPU.name))
    assert _planned(both, quality="best")["model.backbone"] == ON_GPU.name
    assert _planned(Machine("cuda", weights=HERE.weights))["model.backbone"] == ON_CPU.name


@pytest.mark.parametrize("task", ["classify", "segment"])
def test_small_images_begin_from_imagenet_too(task: str) -> None:  # enlarged: docs/plan_results.md
    assert _planned(HERE, side=28, task=task)["model.weights"] == "imagenet"


@pytest.mark.parametrize(
    ("given", "planned"),
    [
        ({"model.backbone": "resnet50"}, {"model.weights": None}),
        ({"model.backbone": "tf_efficientnet_lite0"}, {"model.weights": "imagenet"}),
        ({"model.weights": "imagenet"}, {"model.backbone": "tf_efficientnet_lite0"}),
        ({"model.weights": None}, {}),
        ({"model.weights": "runs/classify/3"}, {}),
        ({"model.init": "kaiming"}, {}),
        ({"model.backbone": "resnet50", "model.weights": "auto"}, {}),
    ],
)
def test_what_is_given_stays_and_the_rest_follows_from_it(given: dict[str, Any], planned: dict[str, Any]) -> None:
    assert _planned(HERE, given=given) == planned


def test_a_network_of_which_nobody_has_published_weights_begins_from_scratch() -> None:
    machine = Machine("cpu", hub=WITH_WEIGHTS)  # the hub answers
    assert _planned(machine, given={"model.backbone": "lenet5"}) == {"model.weights": None}


@pytest.mark.parametrize(
    ("given", "begun", "on"),
    [
        ({"model.weights": None}, False, False),
        ({"model.weights": "imagenet"}, True, False),
        ({"model.weights": "auto", "model.backbone": "tf_efficientnet_lite0"}, True, False),
        ({"model.weights": "auto", "model.backbone": "resnet50"}, False, False),
        ({"model.weights": "auto", "model.backbone": "tf_efficientnet_lite0", "model.init": "kaiming"}, False, False),
        ({"model.weights": "dino.safetensors"}, True, False),
        ({"model.weights": "runs/classify/3/checkpoints/best.ckpt"}, True, True),
    ],
)
def test_what_begins_from_weights(given: dict[str, Any], begun: bool, on: bool) -> None:
    draft = Draft(Fingerprint("classify"), HERE, Budget(), given, DEFAULTS)
    assert (pretrained(draft), goes_on(draft)) == (begun, on)


def test_the_reason_says_what_becomes_of_the_channels() -> None:
    size = Spread(300, 300, 300, 300, 300)
    draft = Draft(Fingerprint("detect", height=size, width=size, channels=12), HERE, Budget(), {}, DEFAULTS)
    network(draft)
    assert "fitted to 12 channels" in draft.planned["model.weights"].reason
