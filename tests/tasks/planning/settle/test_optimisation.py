"""Batch, learning rate, average and cache, by fingerprints made by hand."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from datamodules.fingerprint.fingerprint import Fingerprint, Kind, Spread
from tasks.planning.budget import Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.settle.machine import cache
from tasks.planning.settle.optimisation import (
    AVERAGED,
    BATCHES,
    FEWEST_STEPS,
    LAYER_DECAY,
    LEAST_BATCH,
    average,
    batch,
    learning_rate,
)

DEFAULTS: dict[str, Any] = {
    "data.batch_size": 8, "data.total_batch_size": None, "data.patch_size": None, "data.patches": "auto",
    "data.image_size": None, "data.zoom": 1.0, "data.cache": "none", "data.check_files": True, "data.spacing": None,
    "model.backbone": "resnet18", "model.weights": None, "model.head": "pool", "model.freeze": None,
    "model.optimizer": "adamw", "model.lr": 1e-3, "model.layer_decay": None, "model.ema": None, "model.prune": None,
    "trainer.max_epochs": 20, "trainer.accumulate_grad_batches": 1, "trainer.limit_train_batches": None,
    "trainer.overfit_batches": 0.0,
}  # fmt: skip


def planned(
    rule: Any, images: int = 500, side: float = 128, task: Kind = "classify", given: dict[str, Any] | None = None,
    machine: Machine = Machine("cpu"), **facts: Any,  # noqa: B008 - it is frozen
) -> dict[str, Any]:  # fmt: skip
    size = Spread(side, side, side, side, side)
    facts = {"cases": {"train": images, "val": images // 4}, "types": ("uint8",), **facts}
    fingerprint = Fingerprint(task, samples=images, images=images, height=size, width=size, **facts)
    draft = Draft(fingerprint, machine, Budget(), given or {}, DEFAULTS)
    rule(draft)
    return {flag: one.value for flag, one in draft.planned.items()}


@pytest.mark.parametrize(
    ("images", "side", "size"),
    [
        (100_000, 28, BATCHES["classify"].most),
        (100_000, 256, 16),
        (100_000, 4000, LEAST_BATCH),
        (100, 28, 8),
        (20, 28, LEAST_BATCH),
        (3, 28, 3),
    ],
)
def test_batches_are_as_large_as_images_and_set_allow(images: int, side: float, size: int) -> None:
    assert planned(batch, images, side) == {"data.batch_size": size}


@pytest.mark.parametrize(
    ("machine", "weights", "size"),
    [("cpu", "imagenet", 4), ("cpu", None, 8), ("cuda", "imagenet", 8), ("mps", "imagenet", 8)],
)
def test_steps_of_detection_on_a_processor_are_of_half_of_the_images(
    machine: Literal["cpu", "cuda", "mps"], weights: str | None, size: int
) -> None:
    given = {"model.weights": weights}
    found = planned(batch, 500, 340, task="detect", given=given, machine=Machine(machine))
    assert found == {"data.batch_size": size}
    same = planned(batch, 500, 340, task="segment", given=given, machine=Machine("cpu"))
    assert same == planned(batch, 500, 340, task="segment", given=given, machine=Machine("cuda"))


def test_an_epoch_of_a_small_set_has_steps() -> None:
    for images in (64, 100, 546, 1000):
        assert images / planned(batch, images, 28)["data.batch_size"] >= FEWEST_STEPS


def test_images_of_a_frozen_network_are_looked_at_in_whole_batches() -> None:
    values = planned(batch, 64, 28, given={"data.cache": "features"})
    assert values == {"data.batch_size": BATCHES["classify"].most}  # no step depends on it


def test_a_batch_of_all_devices_that_is_given_stays() -> None:
    assert planned(batch, given={"data.total_batch_size": 64}) == {}


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({}, {"model.lr": 1e-3}),
        ({"model.optimizer": "sgd"}, {}),
        ({"model.freeze": "backbone"}, {"model.lr": 1e-3}),
        ({"model.freeze": "backbone", "data.cache": "features"}, {}),
        ({"model.backbone": "convnext_tiny"}, {"model.lr": 5e-4}),
        ({"model.backbone": "convnext_tiny", "model.weights": "imagenet"}, {"model.lr": 1e-4}),
        (
            {"model.backbone": "vit_small_patch16_224", "model.weights": "imagenet"},
            {"model.lr": 1e-4, "model.layer_decay": LAYER_DECAY},
        ),
        ({"model.backbone": "vit_small_patch16_224", "model.weights": "imagenet", "model.layer_decay": 0.9},
         {"model.lr": 1e-4}),
        ({"model.lr": 3e-4}, {}),
    ],
)  # fmt: skip
def test_rates_follow_optimiser_network_and_weights(given: dict[str, Any], values: dict[str, Any]) -> None:
    assert planned(learning_rate, given=given) == values


@pytest.mark.parametrize(("epochs", "averages"), [(1, False), (10, True), (200, True)])
def test_the_average_reaches_over_a_part_of_all_steps(epochs: int, averages: bool) -> None:
    values = planned(average, 160, given={"trainer.max_epochs": epochs})  # 20 steps an epoch
    if not averages:
        assert values == {}
        return
    steps = epochs * 20
    assert 1 / (1 - values["model.ema"]) == pytest.approx(steps / AVERAGED, rel=0.02)


def test_nothing_is_averaged_where_another_average_or_features_are_asked_for() -> None:
    for given in ({"model.swa": 0.75}, {"model.ema": None}, {"data.cache": "features"}, {"trainer.max_epochs": -1}):
        assert planned(average, given=given) == {}


@pytest.mark.parametrize(
    ("images", "side", "facts", "kept"),
    [
        (1000, 128, {}, True),
        (1_000_000, 224, {}, False),
        (1000, 128, {"volumes": True}, False),
        (1000, 128, {"types": ()}, False),
        (50_000, 128, {"types": ("uint8",)}, True),
        (50_000, 128, {"types": ("float32",)}, False),
        (1000, 128, {"types": ("bool",)}, True),
        (1000, 128, {"types": ("bool", "uint16")}, True),
    ],
)
def test_images_are_kept_where_they_fit(images: int, side: float, facts: dict[str, Any], kept: bool) -> None:
    assert planned(cache, images, side, **facts) == ({"data.cache": "memory"} if kept else {})


def test_files_that_are_not_to_be_read_first_are_not_kept() -> None:
    assert planned(cache, given={"data.check_files": False}) == {}
    assert planned(cache, given={"data.cache": "disk"}) == {}
