"""Batch, learning rate, average and cache, by fingerprints made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest

from datamodules.fingerprint.fingerprint import Fingerprint, Kind, Spread
from scansuite.errors import SuiteError
from tasks.planning.budget import QUICK_SECONDS, Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.settle.machine import cache, memory
from tasks.planning.settle.optimisation import (
    AVERAGED,
    BATCHES,
    FEWEST_STEPS,
    LAYER_DECAY,
    LEAST_BATCH,
    SHARDED,
    average,
    batch,
    learning_rate,
)
from tasks.planning.settle.sizes import STRETCHED, seen_size

DEFAULTS: dict[str, Any] = {
    "data.batch_size": 8, "data.total_batch_size": None, "data.patch_size": None, "data.patches": "auto",
    "data.image_size": None, "data.zoom": 1.0, "data.cache": "none", "data.check_files": True, "data.spacing": None,
    "data.axis": "axial", "data.round_resized": False, "data.bag_size": 16, "model.aggregate": "none",
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


def test_a_gpu_takes_more_large_images_at_a_time() -> None:
    assert planned(batch, 100_000, 320, machine=Machine("cuda")) == {"data.batch_size": 32}
    assert planned(batch, 100_000, 320) == {"data.batch_size": 8}


def test_a_bag_of_images_is_batch_enough_for_batch_norms() -> None:
    bags = {"model.aggregate": "attention", "data.bag_size": 16}
    found = planned(batch, 500, 224, given=bags, images_a_case=Spread(16, 16, 16, 16, 16))
    assert found == {"data.batch_size": 1}


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


@pytest.mark.parametrize(("epochs", "averages"), [(1, False), (10, True), (200, True), (100_000, True)])
def test_the_average_reaches_over_a_part_of_all_steps(epochs: int, averages: bool) -> None:
    values = planned(average, 160, given={"trainer.max_epochs": epochs})  # 20 steps an epoch
    if not averages:
        assert values == {}
        return
    steps = epochs * 20
    assert 1 / (1 - values["model.ema"]) == pytest.approx(steps / AVERAGED, rel=0.02)


def test_weights_that_lie_on_several_devices_are_not_averaged() -> None:
    given = {"trainer.max_epochs": 200, "trainer.strategy": SHARDED}
    assert planned(average, 160, given=given) == {}
    assert "model.ema" in planned(average, 160, given={**given, "trainer.strategy": "ddp"})


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


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"data.image_size": 28}, True),
        ({"data.image_size": 128}, False),  # 165,000 images as float32: 10 GiB
        ({"data.image_size": 128, "data.round_resized": True}, False),
        ({"data.image_size": "64,64", "data.round_resized": True}, True),
        ({"data.zoom": 4.0}, False),
    ],
)
def test_what_is_kept_is_counted_as_it_is_kept(given: dict[str, Any], kept: bool) -> None:
    found = planned(cache, 165_000, 28, given=given, machine=Machine("cpu", memory=8 * 2**30))
    assert found == ({"data.cache": "memory"} if kept else {})


def test_each_process_keeps_its_own() -> None:
    one, eight = (Machine("cuda", memory=2**30, devices=devices) for devices in (1, 8))
    assert planned(cache, 5000, 128, machine=one) == {"data.cache": "memory"}
    assert planned(cache, 5000, 128, machine=eight) == {}
    apart = replace(eight, nodes=8)  # each has the memory for itself
    assert planned(cache, 5000, 128, machine=apart) == {"data.cache": "memory"}


def test_images_of_a_case_are_counted_in_a_step() -> None:
    given = {"model.aggregate": "attention", "data.bag_size": 16}
    assert planned(batch, 5000, 128, given={"model.aggregate": "none", "data.bag_size": 16}) == {"data.batch_size": 64}
    for images, size in ((1, 64), (4, 16), (40, LEAST_BATCH)):
        found = planned(batch, 5000, 128, given=given, images_a_case=Spread(*[images] * 5))
        assert found == {"data.batch_size": size}


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, (STRETCHED, STRETCHED)),  # 512 x 512, stretched by the data class
        ({"data.spacing": 2.0}, (256, 256)),
        ({"data.spacing": "2,4"}, (256, 128)),
        ({"data.spacing": [2.0, 4.0]}, (256, 128)),
        ({"data.axis": "coronal", "data.spacing": 1.0}, (512, 512)),  # measured as it is cut
        ({"data.image_size": 96}, (96, 96)),
    ],
)
def test_slices_are_seen_as_the_data_class_cuts_them(given: dict[str, Any], size: tuple[float, float]) -> None:
    side, depth = Spread(512, 512, 512, 512, 512), Spread(60, 60, 60, 60, 60)
    volumes = Fingerprint("segment", volumes=True, height=side, width=side, slices=depth, spacing=(1.0, 1.0, 1.0))
    assert seen_size(Draft(volumes, Machine("cpu"), Budget(), given, DEFAULTS)) == size


def test_a_planned_plane_is_seen_in_its_own_spacing() -> None:
    height, width, depth = (Spread(side, side, side, side, side) for side in (100, 90, 120))
    print_ = Fingerprint(
        "segment", volumes=True, height=height, width=width, slices=depth, spacing=(1.0, 1.0, 1.5)
    )  # fmt: skip
    draft = Draft(print_, Machine("cpu"), Budget(), {"data.spacing": 0.5}, {**DEFAULTS, "data.axis": "axial"})
    draft.plan("data.axis", "sagittal", "", "")
    assert seen_size(draft) == (360, 200)


def test_files_that_are_not_to_be_read_first_are_not_kept() -> None:
    assert planned(cache, given={"data.check_files": False}) == {}
    assert planned(cache, given={"data.cache": "disk"}) == {}


def fitted(holds: int, given: dict[str, Any] | None = None, batch_size: int = 16, **budget: Any) -> Draft:
    """A planned batch beside a GPU that holds some images at a time."""

    def largest(values: Mapping[str, Any], sizes: Sequence[int]) -> int | None:
        assert values["data.cache"] == "none"
        assert values["model.ema"] == 0.99  # takes memory, and is planned later
        return next((size for size in sizes if size <= holds), None)

    size = Spread(128, 128, 128, 128, 128)
    fingerprint = Fingerprint("classify", samples=500, images=500, height=size, width=size)
    draft = Draft(fingerprint, Machine("cuda"), Budget(holds=largest, **budget), given or {}, DEFAULTS)
    draft.plan("data.batch_size", batch_size, "what a step holds", "data")
    memory(draft)
    return draft


@pytest.mark.parametrize(
    ("holds", "wanted", "size"), [(16, 16, 16), (5, 16, 4), (2, 16, 2), (4, 6, 3), (1, 1, 1), (13, 13, 13)]
)
def test_what_the_memory_of_a_gpu_does_not_hold_at_a_time_is_added_up(holds: int, wanted: int, size: int) -> None:
    draft = fitted(holds, batch_size=wanted)
    assert draft.value("data.batch_size") == size
    assert size * draft.value("trainer.accumulate_grad_batches") == wanted
    assert ("trainer.accumulate_grad_batches" in draft.planned) == (size < wanted)


def test_a_gpu_too_small_for_two_images_is_said() -> None:
    with pytest.raises(SuiteError, match="does not hold 2 images of 128 x 128 pixels: give --model"):
        fitted(1)
    assert fitted(1, {"model.aggregate": "attention"}).value("data.batch_size") == 1  # of bags one is a batch


@pytest.mark.parametrize(
    "given",
    [
        {"data.batch_size": 16},
        {"data.total_batch_size": 16},
        {"trainer.accumulate_grad_batches": 2},
        {"data.cache": "features"},
        {"model.unfreeze": 2},
        {"trainer.strategy": SHARDED},
        {"trainer.strategy": "fsdp"},
    ],
)
def test_no_memory_is_tried_where_it_would_say_nothing(given: dict[str, Any]) -> None:
    assert set(fitted(1, given).planned) <= {"data.batch_size"}


def test_a_quick_look_has_no_time_to_try() -> None:
    assert set(fitted(1, seconds=QUICK_SECONDS).planned) == {"data.batch_size"}
    assert fitted(4, seconds=600).value("trainer.accumulate_grad_batches") == 4
