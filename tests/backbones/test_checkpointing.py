"""Gradient checkpointing changes memory alone: gradients and norm statistics are those without it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from backbones.pyramid import Backbone
from scansuite.errors import SuiteError

FAMILIES = ("test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_byobnet", "densenet121")


def kept(backbone: Backbone, image: torch.Tensor) -> int:
    """Numbers that a forward pass keeps for the way back."""
    total = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.numel()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        backbone(image)
    return total


def step(backbone: Backbone, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients, and all that the network keeps, after two steps."""
    for number in range(2):
        torch.manual_seed(number)  # of dropout and stochastic depth
        torch.stack([level.square().mean() for level in backbone(image)]).sum().backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    return found | {f"buffer {name}": buffer.clone() for name, buffer in backbone.named_buffers()}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("strides", [None, (4, 8, 16, 32)])
def test_gradients_and_statistics_are_those_without(name: str, strides: tuple[int, ...] | None) -> None:
    made = []
    for checkpoints in (False, True):
        torch.manual_seed(0)
        made.append(Backbone(name, 3, strides, image_size=(64, 64), grad_checkpointing=checkpoints).train())
    plain, checkpointed = made
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert kept(copy.deepcopy(checkpointed), image) < kept(copy.deepcopy(plain), image)
    expected, found = step(plain, image), step(copy.deepcopy(checkpointed), image)  # as averages copy it
    assert expected.keys() == found.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-5, atol=1e-6, msg=key)


def test_a_classifier_of_the_network_s_own_is_reached_through_it() -> None:
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", 3, classes=4, image_size=(64, 64), grad_checkpointing=True).train()
    backbone.forward_native(torch.rand(2, 3, 64, 64)).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in backbone.parameters() if parameter.requires_grad)
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert {int(norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None} == {1}


@pytest.mark.parametrize("name", ["small_cnn", "lenet5"])
def test_a_network_without_is_refused_by_name(name: str) -> None:
    with pytest.raises(SuiteError, match=f"--model.grad_checkpointing true: {name} has none"):
        Backbone(name, 1, image_size=(64, 64), grad_checkpointing=True)
