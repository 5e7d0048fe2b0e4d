"""ResNets with convolutional block attention: timm's ResNet with timm's module."""

from __future__ import annotations

from functools import partial
from typing import Any

from timm.layers.cbam import CbamModule
from timm.models import generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet, _create_resnet

CBAM = partial(CbamModule, mlp_bias=True)  # with the biases of the paper's code

_CFG = {
    "num_classes": 1000, "input_size": (3, 224, 224), "pool_size": (7, 7), "crop_pct": 0.875,
    "interpolation": "bilinear", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
    "first_conv": "conv1", "classifier": "fc",
}  # fmt: skip
default_cfgs = generate_default_cfgs(dict.fromkeys(("cbam_resnet18", "cbam_resnet34", "cbam_resnet50"), _CFG))


def _create(name: str, block: type[Any], layers: tuple[int, ...], pretrained: bool, kwargs: dict[str, Any]) -> ResNet:
    block_args = {"attn_layer": CBAM, **kwargs.pop("block_args", {})}
    return _create_resnet(name, pretrained, block=block, layers=layers, block_args=block_args, **kwargs)


@register_model
def cbam_resnet18(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet-18 of Woo et al., "CBAM: Convolutional Block Attention Module" (ECCV 2018), 11.78 million parameters."""
    return _create("cbam_resnet18", BasicBlock, (2, 2, 2, 2), pretrained, kwargs)


@register_model
def cbam_resnet34(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet-34 of the same paper, 21.96 million parameters."""
    return _create("cbam_resnet34", BasicBlock, (3, 4, 6, 3), pretrained, kwargs)


@register_model
def cbam_resnet50(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet-50 of the same paper, 28.09 million parameters."""
    return _create("cbam_resnet50", Bottleneck, (3, 4, 6, 3), pretrained, kwargs)
