"""Parameter counts against the papers and torchvision, on the meta device: no weight is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

import backbones.classic


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def timm_net(name: str, **args: Any) -> Any:
    with torch.device("meta"):
        return timm.create_model(name, **args)


def test_small_cnn_of_the_course() -> None:
    net = timm_net("small_cnn", filters=[16, 32], dropout2d=0.25, drop_rate=0.5, hidden=128, img_size=32)
    assert parameters(net) == 268_746


def test_lenet5_has_the_60_000_of_its_paper() -> None:
    net = timm_net("lenet5")
    layers = {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert {name: parameters(net.get_submodule(name)) for name in layers} == layers
    assert parameters(net) - parameters(net.output) == 60_000


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("alexnet", torchvision.models.alexnet),
        ("googlenet", lambda: torchvision.models.googlenet(aux_logits=False, init_weights=False)),
        ("vgg16", torchvision.models.vgg16),
        ("vgg11_bn", torchvision.models.vgg11_bn),
        ("resnet18", torchvision.models.resnet18),
        ("resnet50", torchvision.models.resnet50),
        ("wide_resnet50_2", torchvision.models.wide_resnet50_2),
        ("resnext50_32x4d", torchvision.models.resnext50_32x4d),
        ("densenet121", torchvision.models.densenet121),
        ("mobilenetv2_100", torchvision.models.mobilenet_v2),
        ("efficientnet_b0", torchvision.models.efficientnet_b0),
        ("convnext_tiny", torchvision.models.convnext_tiny),
        ("swin_tiny_patch4_window7_224", torchvision.models.swin_t),
        ("vit_base_patch16_224", torchvision.models.vit_b_16),
    ],
)
def test_as_many_as_torchvision(name: str, theirs: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        assert parameters(timm_net(name)) == parameters(theirs())


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("cbam_resnet18", 11.78),  # table 4 of the CBAM paper
        ("cbam_resnet34", 21.96),
        ("cbam_resnet50", 28.09),
        ("seresnet50", 28.09),  # SENet, as counted there
        ("mobilenetv1_100", 4.2),  # table 8 of MobileNets
        ("densenet121", 7.98),
        ("xception41", 26.97),
    ],
)
def test_as_many_as_the_paper(name: str, millions: float) -> None:
    digits = len(str(millions).partition(".")[2])
    assert round(parameters(timm_net(name)) / 1e6, digits) == millions


def test_all_are_in_timm_s_registry() -> None:
    known = timm.list_models()
    assert set(backbones.classic.NAMES) <= set(known)
    assert {"alexnet", "googlenet", "lenet5", "small_cnn", "cbam_resnet"} <= set(timm.list_modules())
