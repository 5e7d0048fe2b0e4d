"""Every decoder on networks of each kind: shapes, gradients, names, and pairs that are refused at start."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones.pyramid import Backbone
from scansuite.errors import SuiteError
from tasks.padding import padded
from tasks.segment.decoders import (
    DEEPLY_SUPERVISED,
    LAYOUTS,
    SegmentationDecoder,
    ask_backbone,
    build_decoder,
)

# With stride 2 and without, windows, the weights of the package index, one stride alone.
NETWORKS = (
    "resnet18",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "tf_efficientnet_lite0",
    "vit_tiny_patch16_224",
)


asked_of = cache(ask_backbone)


@cache
def backbone_of(network: str, strides: tuple[int, ...] | None, output_stride: int | None, size: int) -> Backbone:
    args: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    return Backbone(network, 3, strides, image_size=(size, size), **args).eval()


@cache
def pyramid(network: str, strides: tuple[int, ...], output_stride: int | None, size: int) -> list[Tensor]:
    with torch.no_grad():
        levels: list[Tensor] = backbone_of(network, strides, output_stride, size)(image_of(size))
    return levels


def image_of(size: int) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size))


def made(
    decoder: str, network: str, size: int = 64, *, count: int = 2, **options: Any
) -> tuple[SegmentationDecoder, list[Tensor]]:
    """A decoder and what the network gives it, as leaves of the graph."""
    strides, args = asked_of(decoder, network)
    asked = (network, strides, args.get("output_stride"), size)
    levels = [level[:count].clone().requires_grad_() for level in pyramid(*asked)]
    built = build_decoder(decoder, backbone_of(*asked), 3, input_size=(size, size), **options)
    assert isinstance(built, SegmentationDecoder)
    return built, levels


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("decoder", LAYOUTS)
def test_every_decoder_takes_every_backbone(decoder: str, network: str) -> None:
    # One image is a batch, though global pooling leaves one value a channel of it, on which batch norm cannot train.
    # PAN pools images of the least size that it takes to one pixel without global pooling.
    size, count = (128, 2) if decoder == "pan" else (64, 1)
    head, levels = made(decoder, network, size, count=count)
    logits = head(image_of(size)[:count], levels)
    assert [tuple(map_.shape) for map_ in logits] == [(count, 3, size, size)]
    logits[0].square().mean().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for stride, level in zip(asked_of(decoder, network)[0], levels, strict=True):
        assert level.grad is not None, f"the level of stride {stride} is computed for nothing"
        assert level.grad.abs().max() > 0, f"the level of stride {stride} does not bear on the output"


@pytest.mark.parametrize("network", ["resnet18", "convnext_atto"])
@pytest.mark.parametrize("decoder", ["unet", "deeplabv3plus", "pspnet"])
def test_the_backbone_has_the_names_of_classification(decoder: str, network: str) -> None:
    strides, args = ask_backbone(decoder, network)
    names = backbone_of(network, strides, args.get("output_stride"), 64).state_dict().keys()
    assert names == backbone_of(network, None, None, 64).state_dict().keys()


@pytest.mark.parametrize(
    ("decoder", "network", "strides", "args"),
    [
        ("unet", "resnet18", (2, 4, 8, 16, 32), {}),
        ("unet", "convnext_atto", (4, 8, 16, 32), {}),
        ("fpn", "resnet18", (4, 8, 16, 32), {}),
        ("deeplabv3plus", "resnet18", (4, 16), {"output_stride": 16}),
        ("deeplabv3plus", "vit_tiny_patch16_224", (4, 16), {}),
        ("deeplabv3plus", "swin_tiny_patch4_window7_224", (4, 32), {}),
        ("pspnet", "tf_efficientnet_lite0", (8,), {"output_stride": 8}),
        ("pspnet", "vit_tiny_patch16_224", (16,), {}),
        ("pspnet", "densenet121", (32,), {}),
        ("pan", "resnet18", (4, 8, 16, 32), {}),
    ],
)
def test_what_a_decoder_asks_of_a_network(
    decoder: str, network: str, strides: tuple[int, ...], args: dict[str, Any]
) -> None:
    assert ask_backbone(decoder, network) == (strides, args)


@pytest.mark.parametrize("network", ["resnet18", "convnext_atto"])
@pytest.mark.parametrize("decoder", DEEPLY_SUPERVISED)
def test_deep_supervision_adds_coarser_logits_while_training(decoder: str, network: str) -> None:
    head, levels = made(decoder, network, deep_supervision=True)
    image = image_of(64)
    logits = head.train()(image, levels)
    assert [tuple(map_.shape[1:]) for map_ in logits] == [(3, 64, 64), (3, 32, 32), (3, 16, 16), (3, 8, 8)]
    torch.stack([map_.square().mean() for map_ in logits]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in head.parameters())
    # The way through the stages is that of the library, and evaluation takes the library's own.
    head.eval()
    assert len(head(image, levels)) == 1
    stages = head.trunk(image, levels, stages=True)
    torch.testing.assert_close(stages[0], head.trunk(image, levels)[0], rtol=0, atol=0)


def test_a_layer_norm_comes_first_where_the_network_has_no_batch_norm() -> None:
    head, levels = made("unet", "convnext_atto")
    louder = [level * 1000 for level in levels]
    head.eval()
    torch.testing.assert_close(head(image_of(64), louder), head(image_of(64), levels), rtol=1e-2, atol=1e-3)
    assert not any("norms" in name for name, _ in made("unet", "resnet18")[0].named_parameters())


def test_arguments_go_to_the_decoder() -> None:
    head, levels = made("unet", "resnet18", args={"decoder_channels": [64, 32, 16, 16, 16], "attention_type": "scse"})
    assert head.heads[0].in_channels == 16
    assert head(image_of(64), levels)[0].shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    ("decoder", "size", "options", "words"),
    [
        ("pan", 64, {}, r"--model.decoder pan cannot work on resnet18 with images of 64x64.*--data.image_size"),
        ("pan", 96, {}, r"pan cannot work on resnet18"),
        ("fpn", 64, {"deep_supervision": True}, r"--model.deep_supervision: fpn.*unet, linknet, manet"),
        ("unet", 64, {"args": {"bogus": 1}}, r"--model.decoder_args: unet takes no argument 'bogus'"),
        ("unet", 64, {"args": {"decoder_channels": [64, 32]}}, r"--model.decoder unet cannot work on resnet18"),
    ],
)
def test_what_cannot_work_is_refused_at_start(decoder: str, size: int, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        made(decoder, "resnet18", size, **options)


@pytest.mark.parametrize(
    ("decoder", "network", "words"),
    [
        ("unett", "resnet18", "--model.decoder 'unett' is unknown: did you mean 'unet'"),
        ("unet", "resnet81", "--model.backbone.*did you mean 'resnet"),
    ],
)
def test_a_wrong_name_gets_the_right_one(decoder: str, network: str, words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        ask_backbone(decoder, network)


def test_padding_reaches_the_next_multiple_of_32() -> None:
    assert padded((1, 32)) == (32, 32)
    assert padded([33, 100]) == (64, 128)
