"""Layers of a network by name: those that a user asks for, and those whose output is a map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from torch import nn

from scansuite.errors import SuiteError

FIRST = "conv1"  # the first convolution, whatever a network calls it
_BACKBONE = "backbone"
_NEAR = 6  # names that a message lists
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Hardswish, nn.Tanh, nn.Sigmoid, nn.Hardsigmoid),
)


def resolve_layer(model: nn.Module, name: str, flag: str = "--layer") -> str:
    """Find the layer that a user means.

    A name is that of the model's own module (``backbone.layer4.1``, ``decoder.blocks.0``), or timm's name within the
    backbone (``layer4.1``). ``conv1`` is the first convolution of the backbone where no module bears that name:
    ``conv_stem`` in EfficientNet, ``stem.0`` in ConvNeXt, ``patch_embed.proj`` in a vision transformer.

    Args:
        model: of a task.
        name: as typed.
        flag: that names it, for the message.

    Returns:
        The name among ``model.named_modules()``.

    Raises:
        SuiteError: there is no such layer; the nearest names are listed.
    """
    modules = dict(model.named_modules())
    for known in (name, f"{_BACKBONE}.{name}"):
        if known and known in modules:
            return known
    if name == FIRST:
        return first_convolution(model)
    names = [short_name(one) for one in modules if one]
    near = get_close_matches(name, names, n=_NEAR) or names[:_NEAR]
    raise SuiteError(f"{flag} {name}: the network has no such layer: there are {', '.join(near)}")


def first_convolution(model: nn.Module) -> str:
    """Name of the backbone's first convolution, in the order in which its modules are made.

    Raises:
        SuiteError: the network has no convolution.
    """
    part = getattr(model, _BACKBONE, model)
    prefix = f"{_BACKBONE}." if part is not model else ""
    found = next((name for name, module in part.named_modules() if isinstance(module, nn.Conv2d)), None)
    if found is None:
        raise SuiteError(f"--layer {FIRST}: the network has no convolution")
    return f"{prefix}{found}"


def module_of(model: nn.Module, name: str) -> nn.Module:
    """The module of a name.

    Not torch's ``get_submodule``, which asks for attributes: the backbone has one called ``stages``, as have networks.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    return modules[name]


def short_name(name: str) -> str:
    """A module's name as it is shown: that of timm within the backbone."""
    return name.removeprefix(f"{_BACKBONE}.")


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """All convolutions by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}


def map_layers(model: nn.Module) -> list[str]:
    """Names of the layers whose output is looked at where all are asked for.

    These are convolutions, activations, and the blocks of a network: what stands numbered in a list or sequence and has
    modules of its own, such as ``layer1.0`` and ``blocks.3``.
    """
    return list(_chosen(model.named_modules()))


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation function; those of timm are told by their package."""
    return isinstance(module, _ACTIVATIONS) or (
        type(module).__module__.startswith("timm.layers.activations") and not list(module.children())
    )


def _chosen(modules: Iterable[tuple[str, nn.Module]]) -> Iterator[str]:
    for name, module in modules:
        numbered = name.rpartition(".")[2].isdigit() and any(True for _ in module.children())
        block = numbered and any(True for _ in module.parameters())
        if isinstance(module, nn.Conv2d) or is_activation(module) or block:
            yield name
