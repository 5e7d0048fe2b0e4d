"""Attention of vision transformers as a map: rollout over all blocks, and the last block alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def attention_blocks(net: Any) -> list[str]:
    """Paths of what drops attention weights, one a block; none where a network is no plain vision transformer.

    In timm every block of the ViT family (ViT, DeiT, EVA, BEiT) has ``attn.attn_drop``, which gets (B, heads, N, N).
    """
    named = dict(net.named_modules())
    paths = [f"{name}.attn.attn_drop" for name in named if name.startswith("blocks.") and name.count(".") == 1]
    return paths if paths and all(path in named for path in paths) else []


NOT_ALL = "its blocks do not let every place attend to all: attention is rolled out in plain vision transformers"


def why_not(net: Any) -> str | None:
    """Why attention cannot be rolled out in a network; None where it can."""
    return None if attention_blocks(net) else NOT_ALL


def grid_of(attention: list[Tensor], prefix: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """(h, w) of the places that attend to each other; None where they are not the same in all blocks.

    Args:
        attention: of each block.
        prefix: tokens before those of places.
        size: (H, W) in pixels of the image that the network saw.
    """
    count = attention[0].shape[-1]
    if any(tuple(weights.shape[-2:]) != (count, count) for weights in attention):
        return None
    for height in range(1, count - prefix + 1):
        width = (count - prefix) // height
        if height * width == count - prefix and abs(height / width - size[0] / size[1]) < 0.5 / width:
            return height, width
    return None


@contextmanager
def attending(net: Any) -> Iterator[list[Tensor]]:
    """(B, heads, N, N) attention weights of each block, of a network that runs meanwhile.

    torch's fused attention, which never holds these weights, is switched off for the time.
    """
    found: list[Tensor] = []
    modules: dict[str, nn.Module] = dict(net.named_modules())
    paths = attention_blocks(net)
    before: list[tuple[Any, bool]] = []

    def keep(module: nn.Module, args: tuple[Any, ...], number: int) -> None:
        found.append(args[0].detach())

    handles = []
    for number, path in enumerate(paths):
        block: Any = modules[path.rpartition(".")[0]]
        before.append((block, block.fused_attn))
        block.fused_attn = False
        handles.append(modules[path].register_forward_pre_hook(partial(keep, number=number)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        for block, fused in before:
            block.fused_attn = fused


def rolled_out(attention: list[Tensor], prefix: int, grid: tuple[int, int], *, class_token: bool) -> Tensor:
    """Attention rollout (Abnar and Zuidema, "Quantifying attention flow in transformers", ACL 2020).

    The mean over heads, half of it and half of the residual path, multiplied from the first block to the last.

    Args:
        attention: (1, heads, N, N) of each block, each row with a sum of 1.
        prefix: tokens before those of places.
        grid: (h, w) of the places.
        class_token: read off the first token; else off the mean of all places, as a head that pools does.

    Returns:
        (h, w), not negative. It is of no class: it says what the network has gathered, not what for.
    """
    flow: Tensor | None = None
    for weights in attention:
        mean = weights[0].mean(dim=0)
        mixed = (mean + torch.eye(len(mean), device=mean.device)) / 2
        flow = mixed if flow is None else mixed @ flow
    assert flow is not None
    return _read(flow, prefix, grid, class_token=class_token)


def last_attention(attention: list[Tensor], prefix: int, grid: tuple[int, int], *, class_token: bool) -> Tensor:
    """Attention of the last block, the mean over heads, as it is shown of class tokens since Caron et al., ICCV 2021.

    See :func:`rolled_out`.
    """
    return _read(attention[-1][0].mean(dim=0), prefix, grid, class_token=class_token)


def _read(flow: Tensor, prefix: int, grid: tuple[int, int], *, class_token: bool) -> Tensor:
    row = flow[0] if class_token and prefix else flow[prefix:].mean(dim=0)
    return row[prefix:].reshape(grid)
