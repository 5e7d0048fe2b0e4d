"""The layers and stages of a timm network in order, from the image to the deepest features."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from timm.models import group_parameters
from torch import nn


def layer_numbers(net: nn.Module, *, coarse: bool = False) -> dict[str, int]:
    """Number of the layer that each parameter belongs to, 0 for the stem.

    Layers are those that timm itself groups for layer-wise learning rates (``group_matcher``). The few families without
    any are grouped by their outermost modules, in order.

    Args:
        net: a plain timm network.
        coarse: whole stages instead of blocks, where the network has any.
    """
    matcher = getattr(net, "group_matcher", None)
    if matcher is not None:
        found: dict[str, int] = group_parameters(net, matcher(coarse=coarse), reverse=True)
        if len(set(found.values())) > 1:
            return _renumbered(found)
    order: dict[str, int] = {}
    return {name: order.setdefault(_outermost(name), len(order)) for name, _ in net.named_parameters()}


def _outermost(name: str) -> str:
    """``features`` of ``features.weight``; ``blocks.3`` of ``blocks.3.weight``, as each block counts for itself."""
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[1].isdigit() else 1]) if len(parts) > 1 else name


def _renumbered(numbers: dict[str, int]) -> dict[str, int]:
    order = {number: position for position, number in enumerate(sorted(set(numbers.values())))}
    return {name: order[number] for name, number in numbers.items()}


def stages(net: nn.Module) -> dict[str, list[str]]:
    """Names of the parameters of each stage, from the stem to the deepest; a stage is named after what they share."""
    members: dict[int, list[str]] = {}
    for name, number in layer_numbers(net, coarse=True).items():
        members.setdefault(number, []).append(name)
    named: dict[str, list[str]] = {}
    for number in sorted(members):
        paths = [name.split(".")[:-1] for name in members[number]]
        shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))]
        title = ".".join(shared) or members[number][0].split(".")[0]
        named[title if title not in named else f"{title} ({number})"] = members[number]
    return named


def resting_modules(net: nn.Module, frozen: set[str]) -> list[Any]:
    """Modules that must stay in evaluation mode where these parameters are frozen.

    A module rests if all parameters below it are frozen; one without parameters (dropout, drop-path, pooling, norms
    without weights) does what the nearest module around it does that has some.
    """
    resting: list[Any] = []

    def visit(module: nn.Module, prefix: str, around: bool) -> None:
        below = [f"{prefix}{name}" for name, _ in module.named_parameters()]
        rests = all(name in frozen for name in below) if below else around
        if rests:
            resting.append(module)
        for name, child in module.named_children():
            visit(child, f"{prefix}{name}.", rests)

    visit(net, "", around=False)
    return resting
