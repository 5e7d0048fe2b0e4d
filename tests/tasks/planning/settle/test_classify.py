"""Sizes, augmentation and weights of classes, by fingerprints made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from datamodules.fingerprint.fingerprint import Fingerprint, Spread
from tasks.cli.flags import read_config, shipped_configs
from tasks.planning.budget import Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.settle.classify import (
    MOST,
    PRETRAINED_SIDE,
    augmentation,
    cautions,
    evaluation,
    images,
    rare_classes,
)
from tasks.planning.settle.optimisation import batch
from tasks.registry.links import PRETRAINED_SIDE as ENLARGED

DEFAULTS: dict[str, Any] = {
    "data.image_size": None, "data.augment": "light", "data.augment_args.horizontal_flip": None, "data.cache": "none",
    "data.spacing": None, "data.batch_size": 32, "data.total_batch_size": None, "data.patch_size": None,
    "data.sampler": "shuffle", "model.weights": None, "model.head": "pool", "model.class_weights": None,
    "model.loss": "auto", "model.tta": "none", "data.sided": None,
}  # fmt: skip


def spread(least: float, most: float | None = None) -> Spread:
    most = least if most is None else most
    return Spread(least, least, (least + most) / 2, most, most)


def drafted(given: dict[str, Any] | None = None, machine: str = "cpu", **facts: Any) -> Draft:
    facts = {"target": "binary", "images": 500, "samples": 500, "height": spread(64), "width": spread(64), **facts}
    weights = facts.pop("weights", None)
    return Draft(
        Fingerprint("classify", **facts), Machine(machine), Budget(), given or {},  # type: ignore[arg-type]
        {**DEFAULTS, "model.weights": weights},
    )  # fmt: skip


def planned(rule: Any, given: dict[str, Any] | None = None, machine: str = "cpu", **facts: Any) -> dict[str, Any]:
    draft = drafted(given, machine, **facts)
    rule(draft)
    return {flag: one.value for flag, one in draft.planned.items()}


@pytest.mark.parametrize(
    ("facts", "size"),
    [
        ({"height": spread(28), "width": spread(28)}, 28),
        ({"height": spread(200), "width": spread(160)}, [200, 160]),
        ({"height": spread(28), "width": spread(28), "weights": "imagenet"}, PRETRAINED_SIDE),
        ({"height": spread(28), "width": spread(28), "weights": "runs/3/checkpoints/best.ckpt"}, 28),
        ({"height": spread(28), "width": spread(28), "weights": "auto"}, 28),  # none are to be had
        ({"height": spread(2000), "width": spread(3000)}, MOST["cpu"]),
        ({"height": spread(2000), "width": spread(3000), "machine": "cuda"}, MOST["cuda"]),
        ({"height": spread(40, 70), "width": spread(40, 80)}, 64),
        ({"height": spread(10, 12), "width": spread(10)}, 32),
        ({"height": spread(300, 2000), "width": spread(300)}, MOST["cpu"]),
    ],
)
def test_images_are_seen_as_stored_unless_they_are_large_differ_or_have_weights_of_larger_ones(
    facts: dict[str, Any], size: object
) -> None:
    assert planned(images, **facts) == {"data.image_size": size}


def test_small_images_are_enlarged_to_what_the_fixed_values_take_too() -> None:
    assert PRETRAINED_SIDE == ENLARGED


def test_volumes_unmeasured_images_and_a_given_size_are_left_alone() -> None:
    assert planned(images, volumes=True) == {}
    assert planned(images, height=spread(0), width=spread(0)) == {}
    assert planned(images, given={"data.image_size": 96}) == {}


@pytest.mark.parametrize(
    ("facts", "preset"),
    [
        ({"modality": "xray"}, "xray"),
        ({"modality": "mr"}, "mri"),
        ({"images": 546}, "light"),
        ({"images": 5000}, "medium"),
        ({"images": 50_000}, "light"),
    ],
)
def test_the_preset_follows_the_modality_or_the_number_of_images(facts: dict[str, Any], preset: str) -> None:
    assert planned(augmentation, **facts) == {"data.augment": preset}


def test_images_whose_left_is_always_unlike_their_right_are_not_mirrored() -> None:
    values = planned(augmentation, left_right=0.6)
    assert values == {"data.augment": "light", "data.augment_args.horizontal_flip": False}
    given = {"data.augment_args": {"rotation": 3}, "data.augment_args.horizontal_flip": True}
    assert "data.augment_args.horizontal_flip" not in planned(augmentation, given, left_right=0.6)
    assert planned(augmentation, left_right=0.6, modality="xray") == {"data.augment": "xray"}  # it never mirrors


@pytest.mark.parametrize(
    ("counts", "target", "weights"),
    [((400, 100), "binary", False), ((480, 20), "binary", True), ((480, 0), "binary", False),
     ((480, 20), "multilabel", False), ((300, 180, 20), "multiclass", True)],
)  # fmt: skip
def test_a_class_that_is_rare_weighs_more(counts: tuple[float, ...], target: str, weights: bool) -> None:
    values = planned(rare_classes, class_counts=counts, target=target)
    assert values == ({"model.class_weights": "balanced"} if weights else {})
    assert planned(rare_classes, {"data.sampler": "balanced"}, class_counts=counts, target=target) == {}


def test_mirror_images_are_averaged_where_training_mirrors() -> None:
    mirrored = {"model.tta": "mirror"}
    assert planned(evaluation) == mirrored
    for facts in ({"sided": True}, {"left_right": 0.6}):
        assert planned(evaluation, **facts) == {}
    for given in (
        {"data.augment": "none"}, {"data.augment": "xray"}, {"data.sided": True},
        {"data.augment_args.horizontal_flip": False},
    ):  # fmt: skip
        assert planned(evaluation, given) == {}, given


def test_with_a_head_that_is_fitted_it_is_seen_on_held_out_cases() -> None:
    given = {"data.cache": "features", "model.head": "kernel", "data.augment": "none"}
    assert planned(evaluation, given) == {"model.tta": "auto"}
    assert planned(evaluation, given, modality="xray") == {}  # where training would not mirror either
    assert planned(evaluation, {**given, "model.head": "knn"}) == {"model.tta": "mirror"}


def test_a_small_set_of_small_images_gets_the_batch_and_size_of_the_config_that_was_made_by_hand() -> None:
    """README's AUROC of 0.918 is of that config: 546 images of 28 px."""
    by_hand = read_config(shipped_configs()["experiment/medmnist"])["data"]["init_args"]
    facts: dict[str, Any] = {"images": 546, "samples": 546, "height": spread(28), "width": spread(28)}
    assert planned(batch, **facts)["data.batch_size"] == by_hand["batch_size"]
    assert planned(augmentation, **facts)["data.augment"] == by_hand["augment"]


def test_whole_numbers_as_classes_may_be_amounts_or_grades_and_slices_are_no_volumes() -> None:
    months = tuple(str(number) for number in range(1, 229) if number % 3)
    assert "give --data.target regression" in cautions(drafted(target="multiclass", classes=months))[0]
    grades = ("0", "1", "2", "3", "4")
    assert "grades in order, give --data.target ordinal" in cautions(drafted(target="multiclass", classes=grades))[0]
    assert cautions(drafted({"data.target": "multiclass"}, target="multiclass", classes=grades)) == []
    for classes in (("0", "1", "2", "3", "7"), tuple(f"site {name}" for name in months), (*months[:20], "99999")):
        assert cautions(drafted(target="multiclass", classes=classes)) == []
    assert cautions(drafted(target="multiclass", classes=tuple(str(10**6 + 977 * one) for one in range(40)))) == []
    assert "each slice of a volume is a case of its own" in cautions(drafted(volumes=True))[0]
    assert cautions(drafted({"model.aggregate": "attention"}, volumes=True)) == []
