"""Layers of a network: receptive fields against published ones and against gradients, multiply-adds by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import backbones.classic  # noqa: F401
from backbones.receptive_field import ReceptiveFields
from backbones.trace import trace


def field(net: Any, side: int, channels: int = 3) -> tuple[float, float]:
    """Receptive field of the last feature."""
    image = torch.empty(1, channels, side, side, device="meta")
    with torch.no_grad(), ReceptiveFields(image) as fields:
        out = net.forward_features(image)
    found = fields.of(out)
    assert found is not None
    size: tuple[float, float] = found.size
    return size


@pytest.mark.parametrize(
    ("name", "side", "published"),
    [  # Araujo, Norris and Sim, Distill 2019
        ("alexnet", 224, 195),
        ("vgg16", 224, 212),
        ("mobilenetv1_100", 224, 315),
        ("inception_v3", 299, 1311),
    ],
)
def test_published_receptive_fields(name: str, side: int, published: int) -> None:
    with torch.device("meta"):
        net = timm.create_model(name).eval()
    assert field(net, side) == (published, published)


class Smooth(nn.Module):
    """Stands for an activation, so that every weight of a window shows in the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1.0


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("small_cnn", {"block": "residual", "stride": 2, "kernel": 5, "pool": "average"}),
        ("small_cnn", {"convolution": "separable", "block": "stacked", "pool": "average", "depth": 3}),
        ("lenet5", {}),
        ("resnet10t", {}),
    ],
)
def test_receptive_field_is_where_the_gradient_is(name: str, args: dict[str, Any]) -> None:
    net = timm.create_model(name, **args).eval()
    for parent in list(net.modules()):
        for child, module in list(parent.named_children()):
            if isinstance(module, (nn.ReLU, nn.Tanh)) or type(module).__name__ == "Squash":
                setattr(parent, child, Smooth())
            elif isinstance(module, nn.MaxPool2d):
                setattr(parent, child, nn.AvgPool2d(module.kernel_size, module.stride, module.padding))
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Conv2d):
                nn.init.uniform_(module.weight, 0.1, 0.2)
    side, channels = 512, net.pretrained_cfg["input_size"][0]
    image = torch.zeros(1, channels, side, side, requires_grad=True)
    out = net.forward_features(image)
    out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    assert image.grad is not None
    seen = image.grad[0].abs().sum(dim=0) > 0
    extent = [int(line.nonzero().max() - line.nonzero().min()) + 1 for line in (seen.any(dim=1), seen.any(dim=0))]
    with torch.device("meta"):
        shadow = timm.create_model(name, **args).eval()
    assert field(shadow, side, channels) == tuple(extent)


def test_layers_of_the_small_cnn_by_hand() -> None:
    with torch.device("meta"):
        net = timm.create_model("small_cnn")
        traced = trace(net, torch.empty(1, 3, 32, 32))
    rows = {layer.name: layer for layer in traced.layers}
    first = rows["blocks.0.conv1"]
    assert first[2:7] == ("3", "1", "1", "16x32x32", "3")
    assert first.parameters == 3 * 16 * 9 + 16
    assert first.multiply_adds == 3 * 16 * 9 * 32 * 32
    assert [rows[name].field for name in ("pools.0.0", "blocks.1.conv1", "pools.1.0", "fc")] == ["4", "8", "10", "all"]
    assert rows["hidden.1"].multiply_adds == 2048 * 128
    assert traced.parameters == traced.trainable == sum(layer.parameters for layer in traced.layers) == 268_746
    assert traced.multiply_adds == sum(layer.multiply_adds for layer in traced.layers)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet18", 1814), ("resnet50", 4089), ("alexnet", 714), ("vgg16", 15470), ("vit_tiny_patch16_224", 1254)],
)
def test_multiply_adds_are_those_everybody_quotes(name: str, millions: int) -> None:
    with torch.device("meta"):
        traced = trace(timm.create_model(name), torch.empty(1, 3, 224, 224))
    assert round(traced.multiply_adds / 1e6) == millions


def test_attention_has_no_receptive_field() -> None:
    with torch.device("meta"):
        traced = trace(timm.create_model("vit_tiny_patch16_224"), torch.empty(1, 3, 224, 224))
    rows = {layer.name: layer.field for layer in traced.layers}
    assert rows["patch_embed.proj"] == "16"
    assert rows["blocks.0.attn.proj"] == rows["blocks.11.mlp.fc2"] == "-"


def test_field_does_not_outlive_a_mix_of_positions() -> None:
    image = torch.empty(2, 3, 8, 8, device="meta")
    with ReceptiveFields(image) as fields:
        tokens = image.flatten(2)
        mixed = tokens @ torch.empty(64, 64, device="meta")
        pooled = image.mean(dim=(2, 3))
    known = fields.of(tokens), fields.of(mixed), fields.of(pooled)
    assert known[0] is not None
    assert known[0].size == (1, 1)
    assert known[1] is not None
    assert math.isnan(known[1].size[0])
    assert known[2] is not None
    assert math.isinf(known[2].size[0])
