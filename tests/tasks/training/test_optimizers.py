from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import timm
import torch
from torch import nn

from backbones.stages import layer_numbers, stages
from scansuite.errors import SuiteError
from tasks.training.flags import learning_rate_scales
from tasks.training.optimizers import build_optimizer, fits_fused, let_clip, scaled_rates
from tests.tasks.classify.batches import small_task
from tests.tasks.fake_cuda import fake_cuda


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2), nn.LayerNorm(2))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw", torch.optim.AdamW),
        ("AdamW", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
    ],
)
def test_by_name(name: str, kind: type, model: nn.Module) -> None:
    optimizer = build_optimizer(model, name, 0.02, 0.1, {})
    assert type(optimizer) is kind
    assert all(group["lr"] == 0.02 for group in optimizer.param_groups)


@pytest.mark.parametrize("name", ["rmsprop", "lamb", "nadamw"])
def test_others_of_timm_take_a_step(name: str, model: nn.Module) -> None:
    optimizer = build_optimizer(model, name, 0.01, 0.0, {})
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.rand(3, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    assert any((old != new).any() for old, new in zip(before, model.parameters(), strict=True))


def test_decay_spares_biases_and_norms(model: nn.Module) -> None:
    optimizer = build_optimizer(model, "adamw", 1e-3, 0.1, {})
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.1 if name in ("0.weight", "3.weight") else 0.0), name


def test_shares_of_a_rate_that_somebody_else_sets() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    scales = {name: 0.1 for name, _ in model.named_parameters() if name.startswith("0.")}
    optimizer = build_optimizer(model, "momentum", 1.0, 0.0, {"momentum": 0.0}, scales=scales)
    for group in optimizer.param_groups:
        group["lr"] = 0.5  # as Lightning's range test does
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def moved() -> dict[str, float]:
        return {name: float((before[name] - new).detach().mean()) for name, new in model.named_parameters()}

    with scaled_rates():
        optimizer.step()
    assert moved() == pytest.approx({name: 0.5 * scales.get(name, 1.0) for name in before})
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
    optimizer.step()  # its own again
    assert moved() == pytest.approx({name: 0.5 * scales.get(name, 1.0) + 0.5 for name in before})


def test_frozen_parameters_are_left_out(model: nn.Module) -> None:
    next(iter(model.children())).requires_grad_(False)
    optimizer = build_optimizer(model, "adamw", 1e-3, 0.1, {})
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}


def test_further_arguments_arrive(model: nn.Module) -> None:
    assert build_optimizer(model, "sgd", 0.1, 0.0, {"momentum": 0.3}).param_groups[0]["momentum"] == 0.3
    assert build_optimizer(model, "adamw", 0.1, 0.0, {"betas": (0.5, 0.6)}).param_groups[0]["betas"] == (0.5, 0.6)


@pytest.mark.parametrize(
    ("name", "lr", "args", "words"),
    [
        ("adamww", 0.1, {}, "--model.optimizer 'adamww' is unknown: did you mean 'adamw'"),
        ("sdg", 0.1, {}, "did you mean 'sgd'"),
        ("zzzzzz", 0.1, {}, "--model.optimizer 'zzzzzz' is unknown"),
        ("adamw", 0.1, {"bogus": 1}, "--model.optimizer_args.*bogus"),
        ("adamw", 0.1, {"betas": [2.0, 0.9]}, "--model.optimizer_args.*betas"),
        ("adamw", -1.0, {}, "--model.lr -1.0"),
    ],
)
def test_mistakes_are_named(name: str, lr: float, args: dict[str, Any], words: str, model: nn.Module) -> None:
    with pytest.raises(SuiteError, match=words):
        build_optimizer(model, name, lr, 0.0, args)


def test_textbook_arguments_have_their_effect() -> None:
    """Two steps with a gradient of 1, by hand."""

    def moved(name: str, **args: Any) -> list[float]:
        parameter = nn.Parameter(torch.zeros(1))
        model = nn.Module()
        model.weight = parameter
        optimizer = build_optimizer(model, name, 0.1, 0.0, args)
        places = []
        for _ in range(2):
            parameter.grad = torch.ones(1)
            optimizer.step()
            places.append(parameter.item())
        return places

    assert moved("sgd", momentum=0.0, nesterov=False) == pytest.approx([-0.1, -0.2])
    assert moved("momentum", momentum=0.5) == pytest.approx([-0.1, -0.1 - 0.15])
    assert moved("sgd", momentum=0.5) == pytest.approx([-0.15, -0.15 - 0.175])  # Nesterov: looks ahead
    assert moved("adam", betas=[0.0, 0.0]) == pytest.approx([-0.1, -0.2], rel=1e-4)
    assert moved("adamw", betas=[0.9, 0.999]) == pytest.approx([-0.1, -0.2], rel=1e-4)
    # v = 0.5, then 0.75: steps of 0.1 / sqrt(v).
    assert moved("rmsprop", alpha=0.5, momentum=0.0) == pytest.approx(
        [-0.1 / 0.5**0.5, -0.1 / 0.5**0.5 - 0.1 / 0.75**0.5], rel=1e-4
    )


def test_decoupled_decay_and_penalty_by_hand() -> None:
    for name, expected in {"adamw": 1 - 0.1 * 0.5, "momentum": 1 - 0.1 * (0 + 0.5)}.items():
        model = nn.Linear(1, 1)
        nn.init.ones_(model.weight)
        nn.init.ones_(model.bias)
        optimizer = build_optimizer(model, name, 0.1, 0.5, {})
        model.weight.grad, model.bias.grad = torch.zeros(1, 1), torch.zeros(1)
        optimizer.step()
        assert model.weight.item() == pytest.approx(expected)
        assert model.bias.item() == 1.0


def test_rates_by_name_highest_first(model: nn.Module) -> None:
    optimizer = build_optimizer(model, "adamw", 0.1, 0.01, {}, scales={"0.weight": 0.5, "0.bias": 0.5})
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (0.05 if name.startswith("0.") else 0.1), name
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1, 0.05, 0.05]


def test_frozen_parameters_that_wait_are_held_and_left_alone(model: Any) -> None:
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, "adamw", 0.1, 0.5, {}, waiting={"0.weight"})
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    weight, bias = model[0].weight, model[0].bias
    assert id(weight) in held
    assert id(bias) not in held
    before = weight.detach().clone()
    model(torch.rand(3, 1, 4, 4)).sum().backward()
    optimizer.step()
    assert torch.equal(weight, before)


@pytest.mark.parametrize(("decay", "factor"), [(None, 0.1), (0.5, 1.0), (0.5, 0.2)])
def test_layers_of_the_backbone_learn_at_their_rates(decay: float | None, factor: float) -> None:
    task = small_task(layer_decay=decay, backbone_lr_factor=factor, optimizer="sgd", lr=1.0)
    scales = learning_rate_scales(task.backbone, factor, decay)
    assert set(scales) == {f"backbone.{name}" for name, _ in task.backbone.named_parameters()}
    layers = [scales["backbone.conv1.0.weight" if stage == 0 else f"backbone.layer{stage}.0.conv1.weight"]
              for stage in range(5)]  # fmt: skip
    if decay is None:
        assert set(scales.values()) == {0.1}
    else:
        assert layers[-1] <= factor * decay  # the head is the last layer
        assert layers == sorted(layers)
        for stage in range(4):
            ratio = layers[stage + 1] / layers[stage]
            assert ratio == pytest.approx(2 ** round(math.log2(ratio)))
            assert ratio >= 2


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_convnext",
        "test_vit",
        "test_efficientnet",
        "vgg11",
        "densenet121",
        "swin_tiny_patch4_window7_224",
    ],
)
def test_layers_and_stages_are_in_order(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=0)
    names = {key for key, _ in net.named_parameters()}
    layers = layer_numbers(net)
    assert set(layers) == names
    assert set(layers.values()) == set(range(max(layers.values()) + 1))
    assert layers[next(iter(layers))] == 0
    parts = stages(net)
    assert {key for part in parts.values() for key in part} == names
    assert 2 <= len(parts) <= max(layers.values()) + 1


def stepped(model: Any, **args: Any) -> torch.optim.Optimizer:
    optimizer = build_optimizer(model, "adamw", 0.1, 0.0, args)
    model(torch.rand(3, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "momentum"])
def test_an_optimiser_is_fused_on_a_cpu_and_learns_the_same(name: str) -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 2)
    )  # no gradient is 0 but for rounding
    other = copy.deepcopy(model)
    for net, args in ((model, {}), (other, {"fused": False})):
        optimizer = build_optimizer(net, name, 0.01, 0.1, args)
        assert all(group["fused"] is (not args) for group in optimizer.param_groups)
        for number in range(5):
            optimizer.zero_grad()
            net(torch.linspace(-1, 1, 48).reshape(3, 1, 4, 4) * number).square().sum().backward()
            optimizer.step()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_what_torch_cannot_fuse_is_not(model: nn.Module) -> None:
    here = [{"params": [nn.Parameter(torch.empty(2))]}]
    assert not fits_fused("sgd", here, waits=True)
    assert fits_fused("adamw", here, waits=True)
    assert not fits_fused("adamw", [{"params": [nn.Parameter(torch.empty(2, device="meta"))]}])
    assert all(group.get("fused") is None for group in build_optimizer(model, "rmsprop", 0.1, 0.0, {}).param_groups)


@pytest.mark.parametrize(
    ("name", "fits"),
    [("adamw", True), ("AdamW", True), ("adam", True), ("sgd", True), ("momentum", True),
     ("rmsprop", False), ("lamb", False), ("nadamw", False)],
)  # fmt: skip
def test_what_is_fused(name: str, fits: bool) -> None:
    with fake_cuda():
        there = [{"params": [nn.Parameter(torch.empty(2, device="cuda"))]}]
        both = [*there, {"params": [nn.Parameter(torch.empty(2))]}]
        assert fits_fused(name, there) == fits_fused(name, [{"params": [nn.Parameter(torch.empty(2))]}]) == fits
        assert not fits_fused(name, both)


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)])
def test_a_state_does_not_change_how_an_optimiser_is_computed(before: bool, after: bool, model: nn.Module) -> None:
    """A run goes on on another machine; what was learnt comes along."""
    saved = stepped(model, fused=before).state_dict()
    optimizer = build_optimizer(model, "adamw", 0.3, 0.0, {"fused": after})
    optimizer.load_state_dict(saved)
    assert all(group["fused"] is after and group["lr"] == 0.1 for group in optimizer.param_groups)
    parameter = next(model.parameters())
    assert float(optimizer.state[parameter]["step"]) == 1
    assert torch.equal(optimizer.state[parameter]["exp_avg"], saved["state"][next(iter(saved["state"]))]["exp_avg"])
    optimizer.step()
    assert float(optimizer.state[parameter]["step"]) == 2


def test_a_state_of_another_optimiser_is_refused_as_ever(model: nn.Module) -> None:
    saved = stepped(model).state_dict()
    saved["param_groups"] = saved["param_groups"][:1]
    with pytest.raises(ValueError, match="different number of parameter groups"):
        build_optimizer(model, "adamw", 0.3, 0.1, {}).load_state_dict(saved)


def test_lightning_clips_what_is_fused(model: nn.Module) -> None:
    from pytorch_lightning.plugins.precision import MixedPrecision

    optimizer = stepped(model, fused=True)
    norms = nn.utils.get_total_norm([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    plugin = MixedPrecision("bf16-mixed", "cpu")
    with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
        plugin.clip_gradients(optimizer, 1e-3)
    let_clip(optimizer)
    plugin.clip_gradients(optimizer, float(norms) / 2)
    after = nn.utils.get_total_norm([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert float(after) == pytest.approx(float(norms) / 2, rel=1e-4)
