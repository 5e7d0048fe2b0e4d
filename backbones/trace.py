"""A network layer by layer: what each computes, on what, and what it costs. Nothing is computed but shapes.

Operations are counted by torch's own counter; torchinfo shows layers too, but no receptive fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backbones.receptive_field import ReceptiveFields

Sides: TypeAlias = int | Sequence[int]  # one for both axes, or of each


class Layer(NamedTuple):
    """One layer, in the order in which layers are computed.

    Attributes:
        name: as in the state dict.
        kind: class of the module.
        kernel: (vertical, horizontal), or empty.
        stride: likewise.
        padding: likewise; or ``same``.
        output: channels and positions of what it gives, without the batch.
        field: receptive field in pixels: ``7``, ``7x9``, ``all``, or ``-`` where there is no such number.
        parameters: of it; 0 where an earlier row has counted them.
        multiply_adds: for one image, of convolutions, linear layers and products of matrices.
    """

    name: str
    kind: str
    kernel: str
    stride: str
    padding: str
    output: str
    field: str
    parameters: int
    multiply_adds: int


class Trace(NamedTuple):
    """All layers, and the sums.

    Attributes:
        layers: in order.
        parameters: of the whole network, those outside of layers included.
        trainable: of them, those with gradient.
        multiply_adds: for one image, those outside of layers (attention) included.
    """

    layers: list[Layer]
    parameters: int
    trainable: int
    multiply_adds: int


@torch.no_grad()
def trace(net: nn.Module, image: Tensor) -> Trace:
    """Runs a network once, in evaluation mode, and notes every layer.

    Multiply-adds are half of what PyTorch's ``FlopCounterMode`` counts: convolutions, linear layers, products of
    matrices and attention. Norms, activations and pooling, some hundredths of the whole, are not counted.

    Args:
        net: any network; on the meta device nothing is computed.
        image: (1, C, H, W) on the device of the network.
    """
    layers: list[Layer] = []
    seen: set[int] = set()
    before: list[int] = []
    handles = []
    fields, counter = ReceptiveFields(image), FlopCounterMode(display=False)

    def enter(module: nn.Module, args: tuple[object, ...]) -> None:
        before.append(counter.get_total_flops())

    def leave(module: nn.Module, args: tuple[object, ...], output: object, *, name: str) -> None:
        spent = counter.get_total_flops() - before.pop()
        if not isinstance(output, Tensor):
            return
        own = [parameter for parameter in module.parameters() if id(parameter) not in seen]
        seen.update(id(parameter) for parameter in own)
        count = sum(parameter.numel() for parameter in own)
        field = fields.of(output)
        layers.append(
            Layer(
                name, type(module).__name__, *_window(module), "x".join(str(side) for side in output.shape[1:]),
                "-" if field is None else _field(field.size), count, spent // 2,
            )
        )  # fmt: skip

    was_training = net.training
    net.eval()
    for name, module in net.named_modules():
        if not list(module.children()) and not isinstance(module, (nn.Identity, nn.Dropout, nn.Dropout2d)):
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(partial(leave, name=name)))
    try:
        with counter, fields:
            net(image)
    finally:
        for handle in handles:
            handle.remove()
        net.train(was_training)
    every = list(net.parameters())
    return Trace(
        layers,
        sum(parameter.numel() for parameter in every),
        sum(parameter.numel() for parameter in every if parameter.requires_grad),
        counter.get_total_flops() // 2,
    )


def _window(module: nn.Module) -> tuple[str, str, str]:
    """Kernel, stride and padding of a convolution or a pooling."""
    kernel: Sides | None = getattr(module, "kernel_size", None)
    if kernel is None:
        return "", "", ""
    padding: Sides | str = getattr(module, "padding", 0)
    dynamic = type(module).__name__.endswith("Same") or padding == "same"
    return _sides(kernel), _sides(getattr(module, "stride", 1)), "same" if dynamic else _sides(padding)


def _sides(value: Sides | str) -> str:
    if isinstance(value, (tuple, list)):
        return str(value[0]) if len(set(value)) == 1 else "x".join(str(side) for side in value)
    return str(value)


def _field(size: tuple[float, float]) -> str:
    shown = ["-" if math.isnan(side) else "all" if math.isinf(side) else str(round(side)) for side in size]
    return shown[0] if shown[0] == shown[1] else "x".join(shown)
