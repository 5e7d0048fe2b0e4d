from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from backbones.initialisation import NORMAL_STD, TRUNCATED_STD, Scheme, initialise
from scansuite.errors import SuiteError
from tasks.classify.task import ClassificationTask
from tasks.detect.task import DetectionTask
from tasks.segment.task import SegmentationTask

LAYERS: dict[
    str, tuple[Any, int, int]
] = {  # a layer, inputs of a unit, outputs of a unit (both times the kernel's positions)
    "linear": (nn.Linear(300, 500), 300, 500),
    "conv": (nn.Conv2d(64, 128, 3), 64 * 9, 128 * 9),
    "grouped": (nn.Conv2d(128, 256, 3, groups=4), 32 * 9, 256 * 9),
    "depthwise": (nn.Conv2d(2048, 2048, 5, groups=2048), 25, 2048 * 25),
}


def expected(scheme: str, inputs: int, outputs: int) -> float:
    """Variance by the published formula."""
    if scheme == "kaiming":
        return 2 / inputs
    if scheme == "xavier":
        return 2 / (inputs + outputs)
    if scheme == "normal":
        return NORMAL_STD**2
    density = math.exp(-2) / math.sqrt(2 * math.pi)  # of the normal distribution at two deviations
    inside = math.erf(2 / math.sqrt(2))
    return TRUNCATED_STD**2 * (1 - 4 * density / inside)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("scheme", ["kaiming", "xavier", "normal", "truncated_normal"])
def test_variance_is_that_of_the_formula(scheme: Scheme, layer: str) -> None:
    torch.manual_seed(0)
    module, inputs, outputs = LAYERS[layer]
    assert initialise(module, scheme) == 1
    assert module.weight.mean().item() == pytest.approx(0, abs=3e-3)
    assert module.weight.var().item() == pytest.approx(expected(scheme, inputs, outputs), rel=0.03)
    assert not module.bias.any()


def test_truncated_means_cut_at_two_deviations() -> None:
    layer = nn.Linear(500, 500)
    initialise(layer, "truncated_normal")
    assert layer.weight.abs().max().item() <= 2 * TRUNCATED_STD


@pytest.mark.parametrize("layer", [nn.Conv2d(8, 64, 3), nn.Linear(60, 20)])
def test_orthogonal_rows_or_columns(layer: nn.Module) -> None:
    initialise(layer, "orthogonal")
    matrix = layer.get_parameter("weight").flatten(1)
    if len(matrix) > matrix.shape[1]:
        matrix = matrix.T
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-5, rtol=0)


def test_default_touches_nothing_and_norms_stay() -> None:
    net: Any = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    nn.init.constant_(net[1].weight, 0.25)
    before = net[0].weight.clone()
    assert initialise(net, "default") == 0
    assert torch.equal(net[0].weight, before)
    assert initialise(net, "kaiming") == 1
    assert not torch.equal(net[0].weight, before)
    assert (net[1].weight == 0.25).all()


@pytest.mark.parametrize("task", [ClassificationTask, SegmentationTask, DetectionTask])
def test_the_flag_in_every_task(task: type[ClassificationTask | SegmentationTask | DetectionTask]) -> None:
    model = task("test_resnet", init="normal", input_size=(64, 64))
    weights = [m.weight for m in model.backbone.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 2000]
    assert weights
    for weight in weights:
        assert weight.std().item() == pytest.approx(NORMAL_STD, rel=0.1)
    with pytest.raises(SuiteError, match=r"--model\.init normal: --model\.weights imagenet would replace"):
        task("test_resnet", init="normal", weights="imagenet", input_size=(64, 64))
