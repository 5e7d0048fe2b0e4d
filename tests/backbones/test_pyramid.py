from __future__ import annotations

import copy
import pickle
from math import ceil
from typing import Any

import pytest
import timm
import torch
from torch import nn

from backbones.imagenet import plain_shapes
from backbones.pyramid import Backbone

STRIDES = (4, 8, 16, 32)
SMALL, WIDE, LARGE = (64, 64), (96, 128), (128, 96)
FAMILIES: dict[str, tuple[tuple[int, int], ...]] = {
    "resnet18": (SMALL, WIDE),
    "seresnet18": (SMALL,),
    "densenet121": (SMALL,),
    "vgg11": (SMALL,),
    "regnetx_002": (SMALL, WIDE),
    "tf_efficientnet_lite0": (SMALL, LARGE),
    "mobilenetv3_small_050": (SMALL, WIDE),
    "inception_v3": (WIDE,),  # unpadded: too small a map is left of 64 pixels
    "hrnet_w18_small": (SMALL,),
    "convnext_atto": (SMALL, LARGE),
    "swin_tiny_patch4_window7_224": (WIDE,),
    "vit_tiny_patch16_224": (SMALL, WIDE),
    "efficientformerv2_s0": (LARGE,),
    "test_coatnet": (SMALL,),
}
WITHOUT_DROP_PATH = ("densenet121", "vgg11", "inception_v3")


@pytest.mark.parametrize("name", FAMILIES)
def test_contract_of_every_family(name: str) -> None:
    plain = plain_shapes(name)
    for size in FAMILIES[name]:
        backbone = Backbone(name, 2, STRIDES, image_size=size)

        # The names of plain timm, in its order, less whole modules that no level needs.
        keys = list(backbone.state_dict())
        assert keys == [key for key in plain if key in set(keys)]
        assert [key for key, _ in backbone.named_parameters()] == [
            key for key in keys if not isinstance(dict(backbone.named_buffers()).get(key), torch.Tensor)
        ]

        image = torch.rand(2, 2, *size)
        levels = backbone(image)
        assert backbone.strides == list(STRIDES)
        for level, channels, stride in zip(levels, backbone.channels, STRIDES, strict=True):
            assert level.shape == (2, channels, ceil(size[0] / stride), ceil(size[1] / stride))

        sum(level.square().mean() for level in levels).backward()
        for key, parameter in backbone.named_parameters():
            assert parameter.requires_grad == (key not in backbone.unused)
            assert (parameter.grad is not None) == parameter.requires_grad, key


# Hrnet keeps parameters that no level uses: the test below is of that.
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "hrnet_w18_small"])
def test_frozen_means_frozen(name: str) -> None:
    size = FAMILIES[name][0]
    args: dict[str, Any] = {} if name in WITHOUT_DROP_PATH else {"drop_path_rate": 0.5}
    backbone = Backbone(name, strides=STRIDES, image_size=size, **args)
    task = nn.Sequential(backbone)
    backbone.freeze()
    before = copy.deepcopy(backbone.state_dict())
    task.train()
    assert backbone.frozen
    assert task.training
    assert not any(module.training for module in [*backbone.modules(), backbone.net])
    image = torch.rand(2, 3, *size)
    first, second = backbone(image), backbone(image)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))  # no drop-path
    assert not any(level.requires_grad for level in first)
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())

    backbone.unfreeze()
    assert all(module.training for module in [*backbone.modules(), backbone.net])
    backbone(image)[-1].mean().backward()
    assert all(p.requires_grad for p in backbone.parameters())
    if any(key.endswith("running_mean") for key in before):
        assert any(not torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())


def test_unfreezing_leaves_unused_parameters_without_gradient() -> None:
    backbone = Backbone("hrnet_w18_small")  # the deepest level alone: the heads of the finer ones are idle
    assert backbone.unused
    backbone.freeze().unfreeze()
    assert {key for key, parameter in backbone.named_parameters() if not parameter.requires_grad} == backbone.unused


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "densenet121", "mobilenetv3_small_050"])
def test_same_values_as_timms_own_features(name: str) -> None:
    backbone = Backbone(name, strides=STRIDES).eval()
    last = {info["reduction"]: index for index, info in enumerate(timm.create_model(name).feature_info)}
    reference = timm.create_model(
        name, features_only=True, feature_cls="getter", out_indices=[last[stride] for stride in STRIDES]
    ).eval()
    reference.model.load_state_dict(backbone.state_dict())
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for level, expected in zip(backbone(image), reference(image), strict=True):
            torch.testing.assert_close(level, expected, rtol=0, atol=0)


def test_deepest_level_alone_is_not_resized() -> None:
    backbone = Backbone("convnext_atto").eval()
    assert (backbone.strides, backbone.channels) == ([32], [320])
    (level,) = backbone(torch.rand(1, 3, 100, 70))
    assert level.shape == (1, 320, 3, 2)  # patches: floor
    (level,) = Backbone("convnext_atto", strides=[32]).eval()(torch.rand(1, 3, 100, 70))
    assert level.shape == (1, 320, 4, 3)


@pytest.mark.parametrize(
    ("name", "strides"),
    [("resnet18", [2, 4, 8, 16, 32]), ("convnext_atto", [4, 8, 16, 32]), ("vit_tiny_patch16_224", [16])],
)
def test_own_strides_give_one_level_each_as_the_network_has_it(name: str, strides: list[int]) -> None:
    backbone = Backbone(name, strides="own", image_size=(96, 64)).eval()
    assert backbone.strides == strides
    image = torch.rand(2, 3, 96, 64)
    levels = backbone(image)
    assert [tuple(level.shape) for level in levels] == [
        (2, channels, 96 // stride, 64 // stride) for channels, stride in zip(backbone.channels, strides, strict=True)
    ]
    deepest = Backbone(name, image_size=(96, 64)).eval()
    deepest.load_state_dict(backbone.state_dict())
    torch.testing.assert_close(deepest(image), levels[-1:])


def test_missing_stride_is_the_nearest_level_resized() -> None:
    backbone = Backbone("convnext_atto", strides=[2, 4]).eval()
    fine, native = backbone(torch.rand(1, 3, 64, 64))
    expected = nn.functional.interpolate(native, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(fine, expected)
    vit = Backbone("vit_tiny_patch16_224", strides=[8, 16], image_size=(64, 64)).eval()
    assert not any("blocks.12" in key for key in vit.state_dict())
    assert "blocks.11.mlp.fc2.weight" in vit.state_dict()  # the last of twelve features of one stride


def test_native_head_is_timms_network() -> None:
    torch.manual_seed(3)
    reference = timm.create_model("mobilenetv3_small_050", num_classes=4, in_chans=1, drop_rate=0.3)
    torch.manual_seed(3)
    backbone = Backbone("mobilenetv3_small_050", 1, classes=4, dropout=0.3)
    assert list(backbone.state_dict()) == list(reference.state_dict())
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(backbone.eval().forward_native(image), reference.eval()(image))
        backbone.train()
        assert not torch.equal(backbone.forward_native(image), backbone.forward_native(image))  # dropout at work
        backbone.eval()
        for module in backbone.modules():
            module.training = True  # as Lightning does after a validation
        assert not torch.equal(backbone.forward_native(image), backbone.forward_native(image))
    with pytest.raises(RuntimeError, match="classes=N"):
        Backbone("resnet18").forward_native(image)


def test_seed_gives_timms_initial_weights() -> None:
    torch.manual_seed(0)
    reference = timm.create_model("resnet18", num_classes=0)
    torch.manual_seed(0)
    backbone = Backbone("resnet18")
    assert all(torch.equal(tensor, reference.state_dict()[key]) for key, tensor in backbone.state_dict().items())


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_whole_and_apart(clone: Any) -> None:
    original = Backbone("resnet18", strides=STRIDES).eval()
    copied = clone(original)
    assert copied.net is not original.net
    image = torch.rand(1, 3, 64, 64)
    expected = original(image)
    assert all(torch.equal(one, two) for one, two in zip(copied(image), expected, strict=True))
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert not copied(image)[0].any()  # its own network sees its own parameters
    assert all(torch.equal(one, two) for one, two in zip(original(image), expected, strict=True))


def test_conversion_and_replaced_modules_reach_the_network() -> None:
    backbone = Backbone("resnet18", 1, strides=[8]).eval()
    backbone.to(torch.float64)
    assert {tensor.dtype for tensor in backbone.net.state_dict().values()} == {torch.float64, torch.int64}
    assert backbone(torch.rand(1, 1, 32, 32, dtype=torch.float64))[0].dtype == torch.float64
    backbone.float().conv1 = nn.Conv2d(5, 64, 7, 2, 3, bias=False)
    assert backbone(torch.rand(1, 5, 32, 32))[0].shape == (1, 128, 4, 4)
    swapped: Any = nn.SyncBatchNorm.convert_sync_batchnorm(backbone)  # type: ignore[no-untyped-call]
    assert isinstance(swapped.net.bn1, nn.SyncBatchNorm)
    moved = {key: torch.zeros_like(parameter) for key, parameter in backbone.named_parameters()}
    functional = torch.func.functional_call(
        Backbone("resnet18", 5, strides=[8]).eval(), moved, torch.rand(1, 5, 32, 32)
    )
    assert not functional[0].any()


def test_names_inside_a_task() -> None:
    class Task(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Backbone("resnet18")

    names = [name for name, _ in Task().named_parameters()]
    assert names[0] == "backbone.conv1.weight"
    assert len(names) == len(set(names)) == len(list(timm.create_model("resnet18", num_classes=0).parameters()))
    assert [name for name, _ in Task().named_modules()][:3] == ["", "backbone", "backbone.conv1"]


def test_compiled_and_exported() -> None:
    backbone = Backbone("test_resnet", strides=[4, 32])
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    image = torch.rand(2, 3, 64, 64)
    for mode in (True, False):
        backbone.train(mode)
        assert backbone.net.training == mode
        assert [level.shape for level in compiled(image)] == [(2, 32, 16, 16), (2, 96, 2, 2)]
    assert all(torch.equal(one, two) for one, two in zip(compiled(image), backbone(image), strict=True))
    exported = torch.export.export(backbone, (image,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    assert set(exported.state_dict) == set(backbone.state_dict())
    other = torch.rand(3, 3, 64, 64)
    for one, two in zip(exported.module()(other), backbone(other), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("strides", [[], [0, 4], [8, 4], [4, 4]])
def test_strides_must_ascend(strides: list[int]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        Backbone("resnet18", strides=strides)
