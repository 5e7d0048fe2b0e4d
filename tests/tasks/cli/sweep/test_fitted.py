"""Sweeps whose trials fit a head to kept features at once: spaces in which trials differ."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from scansuite.errors import SuiteError
from tasks.cli.sweep.fitted import around_fitted, fits_heads, refuse_idle
from tasks.cli.sweep.space import Choices, Range, Space, around

FITTED: dict[str, Any] = {"data.cache": "features", "model.head": "kernel", "data.feature_copies": 1}
LR: Space = {"model.lr": Range(1e-4, 1e-2, log=True)}


@pytest.mark.parametrize(
    ("config", "space", "fitted"),
    [
        (FITTED, {}, True),
        (FITTED, {"model.head": Choices(("pool", "knn"))}, True),
        (FITTED, {"model.head": Choices(("pool", "mlp"))}, False),
        (FITTED, {"data.cache": Choices(("features", "none"))}, False),
        ({**FITTED, "data.cache": "none"}, {}, False),
        ({**FITTED, "model.head": "mlp"}, {}, False),
        ({"data.cache": "disk"}, {}, False),  # a task without heads
    ],
)
def test_all_trials_fit_heads_where_no_value_trains_one(config: dict[str, Any], space: Space, fitted: bool) -> None:
    assert fits_heads(config, space) == fitted


@pytest.mark.parametrize(
    ("more", "sizes"),
    [
        ({"data.image_size": 224, "model.weights": "imagenet"}, Range(128, 288, step=32, whole=True)),
        ({"data.image_size": 128, "model.weights": "imagenet"}, Range(128, 192, step=32, whole=True)),
        ({"data.image_size": 64, "model.weights": None}, Range(32, 128, step=32, whole=True)),
        ({"data.image_size": 28, "model.weights": None}, Range(28, 92, step=32, whole=True)),
        ({"data.image_size": [224, 160], "model.weights": "imagenet"}, None),
        ({"model.l2": 0.5}, None),
        ({"model.head": "knn"}, None),
    ],
)
def test_the_neighbourhood_holds_its_middle_and_nothing_without_effect(
    more: dict[str, Any], sizes: Range | None
) -> None:
    config = {**FITTED, "model.l2": None, **more}
    space = around_fitted(config)
    assert all(part.holds(config[name]) for name, part in space.items())
    assert space.get("data.image_size") == sizes
    assert len(space) == 2 + (sizes is not None)
    refuse_idle("space.yaml", space, config, planned=True)


def test_what_a_frozen_network_does_not_follow_is_not_in_the_space_of_what_is_trained_on_it() -> None:
    config = {
        "model.backbone": "resnet18",
        "model.lr": 1e-3,
        "model.weight_decay": 0.05,
        "model.drop_path": 0.0,
        "data.augment": "light",
    }
    assert {"model.drop_path", "data.augment"} <= around(config).keys()
    assert not {"model.drop_path", "data.augment"} & around({**config, "data.cache": "features"}).keys()


@pytest.mark.parametrize(
    ("flag", "config"),
    [
        ("model.lr", FITTED),
        ("model.drop_path", FITTED),
        ("model.mixup", FITTED),
        ("model.optimizer_args.momentum", FITTED),
        ("data.augment", FITTED),
        ("data.batch_size", FITTED),
        ("trainer.max_epochs", FITTED),
    ],
)
@pytest.mark.parametrize("planned", [True, False])
def test_a_space_without_effect_is_refused(flag: str, config: dict[str, Any], planned: bool) -> None:
    with pytest.raises(SuiteError) as error:
        refuse_idle("space.yaml", {flag: Range(1, 2)}, config, planned=planned)
    assert f"--space space.yaml: {flag}: without effect" in str(error.value)
    assert ("--model.freeze null" in str(error.value)) == planned
    assert ("leave --data.cache features out" in str(error.value)) != planned


def test_one_flag_without_effect_among_others_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        refuse_idle("space.yaml", LR | {"model.head": Choices(("pool", "kernel"))}, FITTED, planned=True)
    assert "--space space.yaml: model.lr: without effect" in caplog.text
    assert "model.head" not in caplog.text


@pytest.mark.parametrize(
    ("space", "config"),
    [
        (LR, {**FITTED, "model.head": "mlp"}),
        (LR | {"model.head": Choices(("kernel", "mlp"))}, FITTED),
        ({"data.augment": Choices(("light", "strong"))}, {**FITTED, "data.feature_copies": 4}),
        ({"data.augment": Choices(("light", "strong")), "data.feature_copies": Range(1, 4, whole=True)}, FITTED),
    ],
)
def test_what_has_an_effect_is_let_pass(space: Space, config: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    refuse_idle("space.yaml", space, config, planned=False)
    assert not caplog.text
