"""The textbook networks as backbones: features, pruning, small images, weights, refusals."""

from __future__ import annotations

from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

import backbones.classic
from backbones.classic.lenet5 import CONNECTIONS
from backbones.pyramid import Backbone
from backbones.weights import load_weights
from scansuite.errors import SuiteError

STRIDES = (4, 8, 16, 32)
LIGHT = ("small_cnn", "lenet5", "googlenet", "cbam_resnet18")


@pytest.mark.parametrize("name", [*LIGHT, "alexnet"])
def test_pyramid_with_a_gradient_for_every_parameter(name: str) -> None:
    backbone = Backbone(name, 2, STRIDES, image_size=(64, 96))
    levels = backbone(torch.rand(2, 2, 64, 96))
    for level, channels, stride in zip(levels, backbone.channels, STRIDES, strict=True):
        assert level.shape == (2, channels, ceil(64 / stride), ceil(96 / stride))
    sum(level.square().mean() for level in levels).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    assert not backbone.unused


@pytest.mark.parametrize("name", [*LIGHT, "alexnet"])
def test_native_classifier_on_small_images(name: str) -> None:
    backbone = Backbone(name, 1, classes=3, image_size=(28, 28), small_stem=True, dropout=0.5)
    logits = backbone.forward_native(torch.rand(2, 1, 28, 28))
    assert logits.shape == (2, 3)
    torch.autograd.backward(logits.square().mean())
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    if not name.startswith("cbam"):  # timm's ResNet drops by a function
        assert any(isinstance(module, nn.Dropout) and module.p == 0.5 for module in backbone.modules())


@pytest.mark.parametrize("name", ["small_cnn", "lenet5", "googlenet", "alexnet"])
def test_interface_of_timm(name: str) -> None:
    net: Any = timm.create_model(name).eval()
    image = torch.rand(1, net.pretrained_cfg["input_size"][0], 64, 64)
    if name == "small_cnn":
        image = image[..., :32, :32]
    last, features = net.forward_intermediates(image)
    assert torch.equal(last, net.forward_features(image))
    assert torch.equal(features[-1], last)
    for feature, info in zip(features, net.feature_info, strict=True):
        assert feature.shape[1] == info["num_chs"]
    torch.testing.assert_close(net.forward_head(last), net(image))
    assert net.get_classifier().out_features == net.num_classes
    assert torch.equal(net.forward_intermediates(image, [0], intermediates_only=True, stop_early=True)[0], features[0])
    net.reset_classifier(7)
    assert net(image).shape == (1, 7)
    assert net.prune_intermediate_layers([0]) == [0]
    kept = {key for key, _ in net.named_parameters()}
    assert not any(key.startswith(("fc", "classifier", "output", "f6", "hidden")) for key in kept)
    assert torch.equal(net.forward_intermediates(image, [0], intermediates_only=True)[0], features[0])
    getter = timm.create_model(name, features_only=True, out_indices=(0, 1))
    assert len(getter(image)) == 2


def test_alexnet_is_torchvision_s() -> None:
    reference = torchvision.models.alexnet().eval()
    net = timm.create_model("alexnet").eval()
    net.load_state_dict(reference.state_dict())
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(net(image), reference(image))


def test_googlenet_is_torchvision_s_in_a_weight_file(tmp_path: Path) -> None:
    reference = torchvision.models.googlenet(aux_logits=True, init_weights=False).eval()
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    backbone = Backbone("googlenet", 3, classes=1000).eval()
    report = load_weights(backbone, str(tmp_path / "weights.pth"))
    assert not report.missing
    assert not report.mismatched
    image = torch.rand(1, 3, 96, 96)
    torch.testing.assert_close(backbone.forward_native(image), reference(image))


def test_levels_of_unpadded_networks_stay_where_they_are() -> None:
    """A bright dot shows at its own place in every level that the network has, not stretched towards the border."""
    backbone = Backbone("lenet5", 1, (1, 2, 4), image_size=(64, 64)).eval()
    for level, stride in zip(backbone(torch.zeros(1, 1, 64, 64)), backbone.strides, strict=True):
        assert level.shape[-1] == 64 // stride
    image = torch.zeros(1, 1, 64, 64, requires_grad=True)
    for level, stride in zip(backbone(image), backbone.strides, strict=True):
        place = 48 // stride
        (gradient,) = torch.autograd.grad(level[0, :, place, place].sum(), image, retain_graph=True)
        rows = gradient[0, 0].abs().sum(dim=1)
        centre = (rows * torch.arange(64)).sum() / rows.sum()
        assert abs(float(centre) - (place + 0.5) * stride) <= stride + 1


def test_table_of_connections_of_lenet5() -> None:
    assert sorted(len(read) for read in CONNECTIONS) == [3] * 6 + [4] * 9 + [6]
    assert len(set(CONNECTIONS)) == 16
    # Symmetry is broken, and each map of S2 is read by ten of C3.
    assert [sum(map_ in read for read in CONNECTIONS) for map_ in range(6)] == [10] * 6


PARTS = {
    "block": ("plain", "stacked", "residual"),
    "convolution": ("standard", "grouped", "depthwise", "separable", "pointwise"),
    "attention": ("none", "se", "cbam"),
    "padding": ("same", "valid"),
}


@pytest.mark.parametrize("block", PARTS["block"])
@pytest.mark.parametrize("convolution", PARTS["convolution"])
def test_every_combination_of_parts_trains(block: str, convolution: str) -> None:
    for attention, padding in product(PARTS["attention"], PARTS["padding"]):
        args: dict[str, Any] = {
            "block": block,
            "convolution": convolution,
            "attention": attention,
            "padding": padding,
            "filters": 8,
        }
        backbone = Backbone("small_cnn", 3, classes=2, image_size=(24, 20), **args)
        torch.autograd.backward(backbone.forward_native(torch.rand(2, 3, 24, 20)).square().mean())
        assert all(parameter.grad is not None for parameter in backbone.parameters()), args


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        ({"activation": "leaky_relu"}, nn.LeakyReLU),
        ({"activation": "sigmoid"}, nn.Sigmoid),
        ({"activation": "tanh"}, nn.Tanh),
        ({"pool": "average"}, nn.AvgPool2d),
        ({"head": "pool"}, nn.AdaptiveAvgPool2d),
        ({"dropout2d": 0.1}, nn.Dropout2d),
    ],
)
def test_a_flag_brings_its_layer(args: dict[str, Any], kind: type[nn.Module]) -> None:
    assert not any(isinstance(m, kind) for m in timm.create_model("small_cnn", dropout2d=0).modules())
    net = timm.create_model("small_cnn", **{"dropout2d": 0, **args})
    assert any(isinstance(module, kind) for module in net.modules())
    assert net(torch.rand(1, 3, 32, 32)).shape == (1, 10)


def test_numbers_of_the_small_cnn() -> None:
    net = timm.create_model("small_cnn", filters=8, depth=3, kernel=5, stride=2, pool="none", batch_norm=False)
    assert [info["num_chs"] for info in net.feature_info] == [8, 16, 32]
    assert [info["reduction"] for info in net.feature_info] == [2, 4, 8]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert net.blocks[0].conv1.kernel_size == (5, 5)
    assert isinstance(timm.create_model("small_cnn", hidden=0).hidden, nn.Identity)
    depthwise = timm.create_model("small_cnn", convolution="depthwise")
    assert depthwise.blocks[1].conv1.groups == 16
    assert timm.create_model("small_cnn", convolution="grouped", groups=8).blocks[1].conv1.groups == 8


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"activation": "rleu"}, "backbone_args.activation rleu: did you mean 'relu'"),
        ({"block": "dense"}, "backbone_args.block dense: there are plain, stacked, residual"),
        ({"filters": [16, "a"]}, "backbone_args.filters a: must be a whole number"),
        ({"filters": []}, r"backbone_args.filters \[\]: must be a number, or a list"),
        ({"filters": [16, 32], "depth": 3}, "backbone_args.depth 3: filters has 2 numbers"),
        ({"kernel": 4}, "backbone_args.kernel 4: with padding same it must be odd"),
        ({"dropout2d": 1}, "backbone_args.dropout2d 1: must be a number of at least 0 and below 1"),
        ({"batch_norm": "yes"}, "backbone_args.batch_norm yes: must be true or false"),
        ({"convolution": "grouped", "groups": 3}, "backbone_args.groups 3: must divide"),
        ({"convolution": "depthwise", "filters": [16, 24]}, "depthwise needs 24 to be a multiple of 16"),
        ({"depth": 6}, "6 blocks leave nothing of images of 28x28"),
        ({"colour": 3}, "'small_cnn' takes no argument 'colour'"),
    ],
)
def test_refused_in_one_line(args: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message) as caught:
        Backbone("small_cnn", 3, image_size=(28, 28), **args)
    assert "\n" not in str(caught.value)


def test_alexnet_says_how_small_is_too_small() -> None:
    with pytest.raises(SuiteError, match=r"alexnet.*images of 28x28"):
        Backbone("alexnet", 3, image_size=(28, 28))
    assert Backbone("alexnet", 3, image_size=(35, 35)).channels == [256]


def test_names_are_what_the_package_says() -> None:
    assert len(set(backbones.classic.NAMES)) == 7


def test_imagenet_weights_come_from_torchvision_s_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    reference = torchvision.models.googlenet(aux_logits=True, init_weights=False).eval()
    file = tmp_path / "checkpoints" / Path(torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.url).name
    file.parent.mkdir()
    torch.save(reference.state_dict(), file)
    backbone = Backbone("googlenet", 3, (8, 16, 32)).eval()
    assert not load_weights(backbone, "imagenet").missing
    assert torch.equal(
        backbone.get_parameter("inception5b.branch1.conv.weight"), reference.inception5b.branch1.conv.weight
    )
