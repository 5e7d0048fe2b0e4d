"""What is planned where a head is trained on features of a frozen network."""

from __future__ import annotations

from typing import Any

import pytest

from datamodules.fingerprint.fingerprint import Fingerprint
from tasks.planning.budget import Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.settle.features import on_features

PLANNED = (
    *("model.backbone", "model.lr", "model.ema", "model.mixup", "trainer.max_epochs", "data.augment"),
    *("data.augment_args.scale", "model.class_weights", "data.batch_size"),
)
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(PLANNED),
    "data.cache": "none",
    "model.head": "pool",
    "data.feature_copies": 1,
}


def _left(**given: Any) -> tuple[set[str], list[str]]:
    flags = {name.replace("__", "."): value for name, value in given.items()}
    draft = Draft(Fingerprint("classify"), Machine("cpu"), Budget(), flags, DEFAULTS)
    for flag in PLANNED:
        draft.plan(flag, 1, "why", "data")
    notes = on_features(draft)
    return set(draft.planned), notes


@pytest.mark.parametrize(
    ("head", "left"),
    [
        ("pool", {"model.backbone", "model.class_weights", "data.batch_size"}),
        ("knn", {"model.backbone", "data.batch_size"}),
        ("mlp", set(PLANNED) - {"model.mixup", "data.augment", "data.augment_args.scale"}),
    ],
)
def test_what_would_do_nothing_is_not_planned(head: str, left: set[str]) -> None:
    planned, notes = _left(data__cache="features", model__head=head)
    assert planned == left
    assert bool(notes) == (head != "mlp")


def test_copies_are_augmented() -> None:
    assert "data.augment" in _left(data__cache="features", data__feature_copies=4)[0]


def test_images_keep_their_plan() -> None:
    assert _left() == (set(PLANNED), [])
