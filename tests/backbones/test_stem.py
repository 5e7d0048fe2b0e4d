from __future__ import annotations

import pytest
import timm
import torch

from backbones.imagenet import plain_shapes
from backbones.pyramid import Backbone
from backbones.stem import shrink_stem

# Reductions of all features with the small stem, finest first.
SHRUNK = {
    "resnet18": [1, 1, 2, 4, 8],
    "resnet50d": [1, 1, 2, 4, 8],  # three 3x3 convolutions before the pool
    "resnetrs50": [1, 1, 2, 4, 8],  # a strided convolution in place of the pool
    "resnetblur50": [1, 1, 2, 4, 8],
    "legacy_seresnet18": [1, 1, 2, 4, 8],
    "resnetv2_50x1_bit": [1, 1, 2, 4, 8],  # weight-standardised, pads by hand before the pool
    "nf_resnet50": [1, 1, 2, 4, 8],
    "densenet121": [1, 1, 2, 4, 8],
    "tf_efficientnet_lite0": [1, 2, 4, 8, 16],
    "mobilenetv3_small_050": [1, 2, 4, 8, 16],
    "regnetx_002": [1, 2, 4, 8, 16],
    "fastvit_t8": [2, 4, 8, 16],  # two parallel first convolutions
}


@pytest.mark.parametrize("name", SHRUNK)
def test_reductions_are_those_of_the_maps(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=0)
        change = shrink_stem(net)
        maps = net.eval().forward_intermediates(torch.empty(1, 3, 48, 32), output_fmt="NCHW", intermediates_only=True)
    assert change.changed
    reductions = [info["reduction"] for info in net.feature_info]
    assert reductions == SHRUNK[name]
    assert [level.shape[-2:] for level in maps] == [(48 // r, 32 // r) for r in reductions]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("convnext_atto", "patches"),
        ("vit_tiny_patch16_224", "one image size"),
        ("vgg11", "full resolution"),
        ("naflexvit_base_patch16_gap", "does not start with a convolution"),
    ],
)
def test_unchanged_with_a_reason(name: str, reason: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name)
        before = [dict(info) for info in net.feature_info]
        change = shrink_stem(net)
    assert not change.changed
    assert reason in change.description
    assert [dict(info) for info in net.feature_info] == before


def test_backbone_with_a_small_stem() -> None:
    backbone = Backbone("resnet18", 1, small_stem=True, image_size=(28, 28))
    assert (backbone.strides, backbone.channels) == ([8], [512])
    assert "3x3" in backbone.stem_note
    assert "no pooling" in backbone.stem_note
    assert backbone.net.conv1.kernel_size == (3, 3)
    assert backbone(torch.rand(2, 1, 28, 28))[0].shape == (2, 512, 4, 4)
    assert list(backbone.state_dict()) == [key for key in plain_shapes("resnet18") if not key.startswith("fc.")]
    pyramid = Backbone("resnet18", 1, [1, 2, 4, 8], small_stem=True).eval()
    assert pyramid.channels == [64, 128, 256, 512]  # of two levels at stride 1 the later, layer1
    assert [level.shape[-1] for level in pyramid.forward(torch.rand(1, 1, 28, 28))] == [28, 14, 7, 4]


def test_a_new_kernel_is_drawn_as_timm_draws_it() -> None:
    weight = Backbone("resnet18", small_stem=True).net.conv1.weight
    assert weight.shape == (64, 3, 3, 3)
    expected = (2 / (64 * 9)) ** 0.5  # He et al. 2015, fan-out
    assert weight.std().item() == pytest.approx(expected, rel=0.1)
