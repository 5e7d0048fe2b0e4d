"""Which values become 0 and 1, by fingerprints made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from datamodules.fingerprint.fingerprint import Fingerprint, Spread
from tasks.planning.budget import Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.settle.network import network
from tasks.planning.settle.values import scale

DEFAULTS: dict[str, Any] = {
    "data.percentiles": None, "data.value_range": None, "data.window": None, "data.gamma": 1.0,
    "model.backbone": "resnet18", "model.weights": None,
}  # fmt: skip
FLAT = Spread(0, 20, 100, 180, 255)
ALIKE = Spread(80, 90, 100, 110, 120)
PERCENTILES = {"data.percentiles": [0.5, 99.5]}


def drafted(given: dict[str, Any] | None = None, **facts: Any) -> Draft:
    known = {"types": ("uint8",), "intensities": FLAT, "means": ALIKE, **facts}
    machine = Machine("cpu", weights=("tf_efficientnet_lite0",))
    draft = Draft(Fingerprint("classify", **known), machine, Budget(), given or {}, DEFAULTS)
    scale(draft)
    return draft


def planned(given: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    return {flag: one.value for flag, one in drafted(given, **facts).planned.items()}


@pytest.mark.parametrize(
    ("facts", "values"),
    [
        ({}, {}),
        ({"types": ("uint16",)}, PERCENTILES),
        ({"types": ("uint16",), "stated_range": True, "modality": "xray"}, {}),
        # 12 of 16 bits, of which a scan of MR uses as many as it happens to.
        ({"types": ("uint16",), "stated_range": True, "modality": "mr"}, PERCENTILES),
        ({"means": Spread(5, 10, 50, 100, 120)}, PERCENTILES),
        ({"means": Spread(5, 10, 50, 100, 120), "colour": 1.0}, {}),
        # Three sequences of MR as channels are no colours.
        ({"types": ("float32",), "colour": 1.0}, PERCENTILES),
        ({"types": ("int16",), "volumes": True}, {}),
    ],
)
def test_images_whose_values_say_nothing_are_scaled_by_themselves(
    facts: dict[str, Any], values: dict[str, Any]
) -> None:
    assert planned(**facts) == values


def test_flat_ct_is_seen_through_windows_each_a_channel() -> None:
    ct: dict[str, Any] = {
        "types": ("int16",),
        "modality": "ct",
        "stated_range": True,
        "intensities": Spread(-1024, -1000, 0, 60, 1500),
    }
    draft = drafted(**ct)
    assert draft.planned["data.window"].value == ["lung", "soft", "bone"]
    network(draft)
    assert "fitted to" not in draft.planned["model.weights"].reason  # they have three channels too
    for flag in ("data.window", "data.percentiles", "data.value_range"):
        assert planned({flag: "brain"}, **ct) == {}
    assert planned({"data.channels": 1}, **ct) == PERCENTILES
    assert planned(**{**ct, "types": ("uint8",), "intensities": FLAT}) == {}  # pictures of it


def test_black_images_are_no_number_of_times() -> None:
    draft = drafted(means=Spread(0, 0, 30, 90, 120))
    assert "more than 100 times" in draft.planned["data.percentiles"].reason
