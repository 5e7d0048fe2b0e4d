"""When a processor fits a head to kept features, by fingerprints made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from datamodules.fingerprint.fingerprint import Fingerprint, Spread
from tasks.planning.budget import Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.plan import make_plan
from tasks.planning.settle.folds import BEST_FOLDS, folds
from tasks.planning.settle.frozen import FEW, QUICK, frozen
from tasks.planning.settle.network import WITH_WEIGHTS

SIDE = Spread(64, 64, 64, 64, 64)
FILMS = Fingerprint(
    "classify", "binary", cases={"train": 640, "val": 160, "test": 200}, samples=640, images=640,
    class_counts=(320, 320), height=SIDE, width=SIDE, types=("uint8",),
)  # fmt: skip
TABLE = "datamodules.classification.image_table.ImageTable"
HERE = Machine("cpu", weights=("tf_efficientnet_lite0",))
DEFAULTS: dict[str, Any] = {
    "model.backbone": "resnet18", "model.weights": "imagenet", "model.head": "pool", "model.freeze": None,
    "model.init": "default", "model.optimizer": "adamw", "model.lr": 1e-3, "model.ema": None, "model.prune": None,
    "data.cache": "none", "data.augment": "light", "data.image_size": None, "data.batch_size": 32,
    "data.check_files": True, "trainer.max_epochs": 20, "trainer.check_val_every_n_epoch": 1,
    "model.early_stopping": None, "model.early_stopping_median": 1, "model.early_stopping_gain": 0.0,
}  # fmt: skip


def draft_of(
    fingerprint: Fingerprint = FILMS,
    machine: Machine = HERE,
    budget: Budget = Budget(),  # noqa: B008 - it is frozen
    given: dict[str, Any] | None = None,
) -> Draft:
    return Draft(fingerprint, machine, budget, given or {}, DEFAULTS)


def freezes(draft: Draft) -> bool:
    frozen(draft)
    planned = {flag: one.value for flag, one in draft.planned.items()}
    assert planned in ({}, {"model.freeze": "backbone", "model.head": "kernel", "data.cache": "features"})
    return bool(planned)


def test_few_images_on_a_processor_are_asked_of_a_frozen_network() -> None:
    assert freezes(draft_of())


def test_a_label_that_no_image_has_keeps_no_others_from_it() -> None:
    assert freezes(draft_of(replace(FILMS, target="multilabel", class_counts=(30, 0, 2))))


def test_a_quick_look_takes_it_too() -> None:
    assert freezes(draft_of(budget=Budget("quick", QUICK)))


LITE2 = "tf_efficientnet_lite2"


@pytest.mark.parametrize("machine", [Machine("cpu", weights=(*HERE.weights, LITE2)), Machine("cpu", hub=WITH_WEIGHTS)])
def test_what_looks_at_an_image_once_may_be_the_larger_network(machine: Machine) -> None:
    draft = Draft(FILMS, machine, Budget(), {}, {**DEFAULTS, "model.weights": None})
    make_plan(draft, TABLE)
    assert draft.value("model.backbone") == LITE2
    assert LITE2 in draft.planned["model.weights"].reason
    assert LITE2 in draft.planned["model.freeze"].reason


def test_a_network_that_is_given_or_the_only_one_stays() -> None:
    for machine, given in ((HERE, {}), (Machine("cpu", hub=("resnet18",)), {"model.backbone": "resnet18"})):
        draft = Draft(FILMS, machine, Budget(), given, {**DEFAULTS, "model.weights": None})
        make_plan(draft, TABLE)
        assert draft.value("model.freeze") == "backbone"
        assert draft.value("model.backbone") == given.get("model.backbone", HERE.weights[0])


@pytest.mark.parametrize(
    "draft",
    [
        draft_of(replace(FILMS, images=FEW + 1)),
        draft_of(replace(FILMS, cases={"train": 640})),
        draft_of(replace(FILMS, class_counts=(640, 0))),
        draft_of(replace(FILMS, volumes=True)),
        draft_of(replace(FILMS, images_a_case=Spread(1, 1, 1, 4, 9))),
        draft_of(machine=Machine("cuda", hub=WITH_WEIGHTS)),
        draft_of(budget=Budget(seconds=600)),
        draft_of(given={"model.weights": None}),
        draft_of(given={"model.weights": "runs/classify/3"}),
        draft_of(given={"model.head": "native"}),
        draft_of(given={"model.freeze": None}),  # what a sweep of a training's flags is told to give
    ],
)
def test_others_train_the_network(draft: Draft) -> None:
    assert not freezes(draft)


def test_best_puts_heads_of_folds_together() -> None:
    draft = Draft(FILMS, HERE, Budget("best"), {}, {**DEFAULTS, "folds": None})
    make_plan(draft, TABLE)
    assert draft.value("model.freeze") == "backbone"
    assert draft.value("folds") == BEST_FOLDS


@pytest.mark.parametrize(
    "flag",
    ["trainer.max_epochs", "model.lr", "data.augment", "data.augment_args.rotation", "data.cache", "model.ema",
     "model.loss", "model.unfreeze", "trainer.limit_train_batches"],
)  # fmt: skip
def test_a_flag_of_a_training_in_steps_is_not_made_to_do_nothing(flag: str) -> None:
    assert not freezes(draft_of(given={flag: 1}))


def test_a_frozen_network_has_no_rate_length_average_or_augmentation_to_plan() -> None:
    draft = draft_of(replace(FILMS, class_counts=(600, 40)))
    make_plan(draft, TABLE)
    assert draft.value("data.cache") == "features"
    assert not {"model.lr", "model.ema", "data.augment", "trainer.max_epochs", "model.early_stopping"} & set(
        draft.planned
    )
    assert draft.value("data.image_size") == 128


def test_best_has_no_folds_where_they_would_be_test_parts_that_nobody_is_to_look_at() -> None:
    for fraction, judged, planned in ((0, False, False), (0, True, True), (0.2, False, True)):
        values = {**DEFAULTS, "data.test_fraction": fraction, "judge_test": judged}
        draft = Draft(FILMS, HERE, Budget("best"), {}, values | {"folds": None})
        folds(draft)
        assert ("folds" in draft.planned) == planned
