"""Feature maps of convolutional networks and transformers, dead and alike channels, filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scansuite.errors import SuiteError
from tasks.classify.task import ClassificationTask
from tasks.detect.task import DetectionTask
from tasks.explain.channels import ChannelMeter
from tasks.explain.features import as_planes, feature_maps, features_picture
from tasks.explain.filters import filter_layer, filter_row, filters_picture, weight_histogram, weights_of
from tasks.explain.layers import map_layers, resolve_layer
from tasks.segment.task import SegmentationTask


@pytest.fixture(scope="module")
def model() -> ClassificationTask:
    torch.manual_seed(0)
    return ClassificationTask(backbone="small_cnn", in_channels=1, input_size=(32, 40))


def image(height: int = 32, width: int = 40, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


def test_maps_are_what_the_layer_gives(model: ClassificationTask) -> None:
    name = resolve_layer(model, "conv1")
    (maps,) = feature_maps(model, image(), [name])
    expected = model.get_submodule(name)(model.normalize(image()))[0]
    assert (maps.layer, maps.kind) == (name, "Conv2d")
    assert np.allclose(maps.planes, expected.detach().numpy(), atol=1e-6)
    assert features_picture(maps).shape[2] == 3


def test_all_layers_of_the_three_tasks() -> None:
    torch.manual_seed(0)
    facts: dict[str, Any] = {"in_channels": 1, "input_size": (64, 64), "num_classes": 2}
    for task in (SegmentationTask, DetectionTask):
        made = task(backbone="resnet10t", **facts)
        found = feature_maps(made, image(64, 64), map_layers(made))
        assert "backbone.layer1.0" in [one.layer for one in found]
        assert any(not one.layer.startswith("backbone.") for one in found)  # of the decoder, of the heads


@pytest.mark.parametrize(
    ("backbone", "layer", "cells"),
    [
        ("vit_tiny_patch16_224", "blocks.0", (4, 6)),  # tokens, one of them of the class
        ("swin_tiny_patch4_window7_224", "layers.0.blocks.0", (16, 24)),  # channels last
        # Channels last within a network where they are second.
        ("convnext_atto", "stages.0.blocks.0.mlp.act", (16, 24)),
    ],
)
def test_tokens_become_maps(backbone: str, layer: str, cells: tuple[int, int]) -> None:
    torch.manual_seed(0)
    made = ClassificationTask(backbone=backbone, in_channels=1, input_size=(64, 96))
    (maps,) = feature_maps(made, image(64, 96), [resolve_layer(made, layer)])
    assert maps.planes.shape[1:] == cells


def test_tokens_keep_their_place() -> None:
    class Tokens(nn.Module):
        num_prefix_tokens = 1

    tokens = torch.arange(1 + 6.0).reshape(1, 7, 1)
    planes = as_planes(tokens, (64, 96), Tokens())
    assert planes is not None
    assert planes[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_what_is_no_map_is_said(model: ClassificationTask) -> None:
    with pytest.raises(SuiteError, match="gives no map of the image"):
        feature_maps(model, image(), ["head"])
    assert as_planes(torch.zeros(4, 9, 8), (48, 48), model) is None  # windows
    assert as_planes(torch.zeros(1, 7, 8), (48, 48), model) is None
    assert as_planes(torch.zeros(1, 16, 1, 1), (48, 48), model) is None


class Made(nn.Module):
    """Channels by rule: x, -2x, noise, a constant, and what ReLU leaves of a value below 0."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.act = nn.Conv2d(2, 5, 1), nn.ReLU()
        with torch.no_grad():
            self.mix.weight.copy_(torch.tensor([[1.0, 0], [-2, 0], [0, 1], [0, 0], [-1, 0]]).reshape(5, 2, 1, 1))
            assert self.mix.bias is not None
            self.mix.bias.copy_(torch.tensor([0.0, 5, 0, 3, -1]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        activated: torch.Tensor = self.act(self.mix(image))
        return activated


def test_dead_and_alike_channels() -> None:
    meter, made = ChannelMeter(Made(), ["mix", "act"]), []
    for seed in range(3):
        scan = image(12, 12, 2, seed)
        meter.add(scan)
        made.append(Made().mix(scan)[0].flatten(1).detach().double().numpy())
    values = np.concatenate(made, axis=1)
    mix, act = meter.rows()
    assert (mix.layer, mix.channels, mix.dead, mix.constant, mix.never_above_0) == ("mix", 5, 1, 1, None)
    assert (act.dead, act.constant, act.never_above_0, act.dead_channels) == (2, 2, 1, "3 4")
    assert meter.dead("act") == [3, 4]
    matrix = np.corrcoef(np.delete(values, 3, axis=0))
    off = np.abs(matrix[~np.eye(4, dtype=bool)]).mean()
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert mix.correlation == pytest.approx(off)
    assert mix.effective_channels == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    assert mix.places == 3 * 144
    assert 1 < act.effective_channels < 3  # x and -2x say the same


def test_one_channel_has_no_correlation() -> None:
    meter = ChannelMeter(nn.Sequential(nn.Conv2d(1, 1, 3)), ["0"])
    meter.add(image())
    (row,) = meter.rows()
    assert np.isnan(row.correlation)
    assert np.isnan(row.effective_channels)


def test_filters(model: ClassificationTask) -> None:
    layer = filter_layer(model, resolve_layer(model, "conv1"))
    weights = weights_of(model, layer)
    picture, said = filters_picture(weights)
    assert said == f"{len(weights)} filters"
    assert picture.dtype == np.uint8
    row = filter_row(layer, weights)
    norms = np.sqrt((weights.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))
    assert row.norm_highest == pytest.approx(norms.max())
    assert row.zero == 0
    assert filter_row("x", np.concatenate([weights, 0 * weights[:2]])).zero == 2
    edges, counts = weight_histogram(weights)
    assert sum(counts) == weights.size
    assert edges[0] == -edges[-1]


def test_filters_of_a_layer_with_many_planes() -> None:
    weights = np.random.default_rng(0).normal(size=(20, 16, 3, 3)).astype(np.float32)
    assert filters_picture(weights)[1] == "12 of 20 filters, 12 of 16 planes of each"
    colour, said = filters_picture(np.zeros((70, 3, 7, 7), np.float32))
    assert said == "64 of 70 filters"
    assert (colour == 128).any()  # 0 is middle grey


def test_a_layer_without_filters(model: ClassificationTask) -> None:
    with pytest.raises(SuiteError, match="--filters head: is no convolution and has none"):
        filter_layer(model, "head")
