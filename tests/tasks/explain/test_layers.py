"""Names of layers: as timm has them, and ``conv1`` for what other networks call otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scansuite.errors import SuiteError
from tasks.classify.task import ClassificationTask
from tasks.explain.layers import first_convolution, map_layers, resolve_layer


def meta(backbone: str, size: int = 64) -> ClassificationTask:
    with torch.device("meta"):
        return ClassificationTask(backbone=backbone, in_channels=1, input_size=(size, size))


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("resnet18", "conv1"),
        ("resnet10t", "conv1"),  # three convolutions in a row, which timm calls so
        ("tf_efficientnet_lite0", "conv_stem"),
        ("convnext_atto", "stem.0"),
        ("vit_tiny_patch16_224", "patch_embed.proj"),
        ("small_cnn", "blocks.0.conv1"),
    ],
)
def test_conv1_is_the_first_convolution_of_any_network(backbone: str, name: str) -> None:
    assert resolve_layer(meta(backbone), "conv1") == f"backbone.{name}"


def test_a_layer_has_timms_name_or_the_models_own() -> None:
    model = meta("resnet18")
    assert resolve_layer(model, "layer1.0.conv2") == "backbone.layer1.0.conv2"
    assert resolve_layer(model, "backbone.layer1.0.conv2") == "backbone.layer1.0.conv2"
    assert resolve_layer(model, "head") == "head"


def test_a_wrong_name_lists_near_ones() -> None:
    with pytest.raises(SuiteError, match=r"--features layer1.conv: .* there are layer") as caught:
        resolve_layer(meta("resnet18"), "layer1.conv", "--features")
    assert "\n" not in str(caught.value)
    with pytest.raises(SuiteError, match="no such layer: there are"):
        resolve_layer(meta("resnet18"), "")


def test_a_network_without_convolution_is_refused() -> None:
    with pytest.raises(SuiteError, match="has no convolution"):
        first_convolution(nn.Sequential(nn.Linear(2, 2)))


def test_all_layers_are_convolutions_activations_and_blocks() -> None:
    names = map_layers(meta("resnet18"))
    assert {"backbone.conv1", "backbone.act1", "backbone.layer4.1"} <= set(names)
    assert not {"backbone.bn1", "backbone.layer4", "backbone"} & set(names)
    assert "backbone.blocks.11" in map_layers(meta("vit_tiny_patch16_224"))
