"""Every head on networks of three families: shapes, gradients, and what tells the heads apart."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from backbones.pyramid import Backbone
from scansuite.errors import SuiteError
from tasks.classify.head_names import HeadName
from tasks.classify.heads import Head, Standardised, needs_norm
from tasks.classify.task import ClassificationTask

HEADS: tuple[HeadName, ...] = ("pool", "mlp", "flatten", "levels", "native")


def made(name: HeadName, **arguments: Any) -> Head:
    given: dict[str, Any] = {"dropout": 0.0, "hidden": 7, "grid": (2, 3), "norm": False, **arguments}
    return Head(name, (3, 4), 5, **given)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("backbone", "side"), [("resnet18", 64), ("convnext_atto", 64), ("vit_tiny_patch16_224", 32)])
def test_logits_of_every_case_and_gradients_for_every_parameter(backbone: str, side: int, head: Any) -> None:
    task = ClassificationTask(backbone, head=head, num_classes=3, input_size=(side, side), dropout=0.1, hidden=16)
    logits = task(torch.rand(2, 3, side, side))
    assert logits.shape == (2, 3)
    nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()  # type: ignore[no-untyped-call]
    left = [name for name, p in task.named_parameters() if p.requires_grad and p.grad is None]
    assert left == []
    assert all(p.grad.isfinite().all() for p in task.parameters() if p.grad is not None)
    assert not task.backbone.unused


def test_pooling_forgets_where_flattening_remembers() -> None:
    level = torch.randn(2, 4, 2, 3)
    turned = level.flip(-1)
    torch.testing.assert_close((pool := made("pool"))([level]), pool([turned]))
    assert not torch.allclose((flatten := made("flatten"))([level]), flatten([turned]))
    assert flatten.linear.in_features == 4 * 2 * 3


def test_pool_is_the_mean_and_a_linear_layer() -> None:
    head, level = made("pool"), torch.randn(2, 4, 2, 3)
    torch.testing.assert_close(head([torch.zeros(1), level]), head.linear(level.mean(dim=(2, 3))))


def test_levels_are_mean_and_deviation_of_every_map() -> None:
    head, levels = made("levels"), [torch.randn(6, 3, 4, 6) * 9 + 5, torch.randn(6, 4, 2, 3)]
    features = head.features(levels)
    flat = [level.flatten(2) for level in levels]
    wanted = [part for level in flat for part in (level.mean(2), level.std(2, correction=0))]
    torch.testing.assert_close(features, torch.cat(wanted, dim=1), rtol=1e-4, atol=1e-4)
    assert head.width == features.shape[1] == 2 * (3 + 4)
    centred = (features - features.mean(0)) / features.std(0, correction=0)
    torch.testing.assert_close(head(levels), head.linear(centred), rtol=1e-3, atol=1e-3)


def test_an_even_map_has_a_gradient_and_a_single_image_is_scaled_by_what_was_seen() -> None:
    even = torch.ones(1, 4, 1, 1, requires_grad=True)
    head = made("levels")
    head([torch.zeros(1, 3, 2, 2), even]).sum().backward()
    assert even.grad is not None
    assert even.grad.isfinite().all()
    assert isinstance(head.scale, Standardised)
    seen = torch.randn(50, 14) * 3 + 2
    head.scale.see(seen)
    one = torch.randn(1, 14)
    torch.testing.assert_close(head.scale(one), (one - seen.mean(0)) / seen.std(0, correction=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("backbone", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_levels_of_a_network_are_those_of_all_its_strides(backbone: str) -> None:
    task = ClassificationTask(backbone, head="levels", num_classes=3, input_size=(64, 64))
    strides = {int(info["reduction"]) for info in task.backbone.net.feature_info}
    assert task.backbone.strides == sorted(strides)
    assert task.feature_width == 2 * sum(task.backbone.channels)


def test_mlp_has_a_hidden_layer_of_the_width_asked_for() -> None:
    head = made("mlp", hidden=9)
    assert [tuple(p.shape) for p in head.parameters()] == [(9, 4), (9,), (5, 9), (5,)]
    with torch.no_grad():
        head.linear.weight.fill_(1)
        head.linear.bias.zero_()
    assert (head([torch.randn(8, 4, 2, 3)]) >= 0).all()  # what comes out of the rectifier


def test_dropout_acts_in_training_alone() -> None:
    for name in HEADS[:4]:
        head, level = made(name, dropout=0.5), torch.rand(1, 4, 2, 3) + 1
        levels = [torch.rand(1, 3, 4, 6), level]
        drawn = torch.stack([head(levels) for _ in range(8)])
        assert (drawn.std(dim=0) > 0).any()
        head.eval()
        torch.testing.assert_close(head(levels), head(levels))


def test_flatten_without_a_size_is_refused_by_flag() -> None:
    with pytest.raises(SuiteError, match=r"--model.head flatten.*--data.image_size"):
        ClassificationTask("test_resnet", head="flatten")


def test_finding_the_grid_leaves_norm_statistics_alone() -> None:
    task = ClassificationTask("test_resnet", head="flatten", input_size=(64, 96), dropout=0.0)
    fresh = [m for m in task.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert fresh
    assert all(m.num_batches_tracked == 0 for m in fresh)
    assert task.backbone.training
    assert task(torch.rand(1, 3, 64, 96)).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("test_resnet", False), ("test_efficientnet", False), ("test_convnext", True), ("test_vit", True)],
)
def test_a_norm_is_brought_where_the_network_has_no_batch_norm(name: str, expected: bool) -> None:
    assert needs_norm(Backbone(name)) is expected
    task = ClassificationTask(name)
    assert isinstance(task.head, Head)
    assert isinstance(task.head.norm, nn.LayerNorm) is expected


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_native_is_the_plain_network(name: str) -> None:
    task = ClassificationTask(name, head="native", num_classes=4).eval()
    plain = timm.create_model(name, num_classes=4).eval()
    plain.load_state_dict(task.backbone.state_dict())
    image = torch.rand(2, *plain.pretrained_cfg["input_size"])
    with torch.no_grad():
        torch.testing.assert_close(task(image), plain(image))


def test_native_takes_the_dropout() -> None:
    assert ClassificationTask("test_resnet", head="native", dropout=0.4).backbone.net.drop_rate == 0.4


def test_native_with_a_frozen_backbone_would_train_nothing() -> None:
    with pytest.raises(SuiteError, match=r"--model.freeze backbone.*--model.head native"):
        ClassificationTask("test_resnet", head="native", freeze="backbone")


def test_ordinal_heads_have_a_logit_less() -> None:
    for head in HEADS:
        task = ClassificationTask("test_resnet", head=head, num_classes=5, target="ordinal", input_size=(64, 64))
        assert task(torch.rand(1, 3, 64, 64)).shape == (1, 4)
    entropy = ClassificationTask("test_resnet", num_classes=5, target="ordinal", loss="cross_entropy")
    assert entropy(torch.rand(1, 3, 64, 64)).shape == (1, 5)
