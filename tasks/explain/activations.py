"""Activations of named layers while a model runs, as maps of cells, and the choice of the layer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CELLS = 7  # least cells a side of a map: ResNet's 224 / 32, at which the papers on class activation maps work
_NUMBERED = re.compile(r"(.*)\[(\d+)\]$")


class Grid(NamedTuple):
    """What a layer gave as cells of the image.

    Attributes:
        layer: path of the module, with ``[i]`` behind it where it gives several maps.
        kept: what the module gave, of which a gradient can be asked.
        cells: (B, C, h, w) of it.
        axes: how a tensor like ``kept`` becomes cells: ``NCHW``, ``NHWC``, or ``tokens``.
    """

    layer: str
    kept: Tensor
    cells: Tensor
    axes: str

    def gradient(self, value: Tensor) -> Tensor:
        """(B, C, h, w) gradient of a number, as cells; zeros where it does not depend on the layer.

        Args:
            value: () sum over the batch. Its graph is kept for the next target.
        """
        if not value.requires_grad:
            return torch.zeros_like(self.cells)
        found: Tensor | None = torch.autograd.grad(value, self.kept, retain_graph=True, allow_unused=True)[0]
        if found is None:
            return torch.zeros_like(self.cells)
        return to_cells(found, (self.cells.shape[-2], self.cells.shape[-1]), self.axes)


def to_cells(tensor: Tensor, grid: tuple[int, int], axes: str) -> Tensor:
    """(B, C, h, w) of what a layer gave."""
    if axes == "NCHW":
        return tensor
    if axes == "NHWC":
        return tensor.permute(0, 3, 1, 2)
    height, width = grid
    places = tensor[:, tensor.shape[1] - height * width :]  # class token and registers stand before
    return places.transpose(1, 2).reshape(len(tensor), -1, height, width)


def axes_of(tensor: Tensor, size: tuple[int, int]) -> tuple[str, tuple[int, int]] | None:
    """How a tensor holds cells of an image, and their (h, w); None where it holds none.

    Args:
        tensor: what a layer gave for a batch.
        size: (H, W) in pixels of the image that the network saw.
    """
    if not tensor.is_floating_point():
        return None
    if tensor.dim() == 4:
        first, second, third = tensor.shape[1:]
        if _alike((second, third), size):
            return "NCHW", (second, third)
        return ("NHWC", (first, second)) if _alike((first, second), size) else None
    if tensor.dim() == 3:
        # Of the grids like the image the largest that the tokens fill, all but a few that stand for no place.
        for side in range(tensor.shape[1], 0, -1):
            width = max(1, round(side * size[1] / size[0]))
            if 0 <= tensor.shape[1] - side * width <= 16 and _alike((side, width), size):
                return "tokens", (side, width)
    return None


def _alike(grid: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a grid has the shape of an image: one stride for both sides, to the rounding of a cell."""
    stride = max(size[0] / grid[0], size[1] / grid[1])
    return all(grid[axis] <= size[axis] and abs(grid[axis] - size[axis] / stride) <= 1 for axis in (0, 1))


@contextmanager
def recorded(model: nn.Module, layers: Sequence[str], size: tuple[int, int]) -> Iterator[dict[str, Grid]]:
    """The last output of each layer of a model that runs meanwhile, by path in the order of ``layers``.

    A layer hands on a copy of what it gave, so that what follows may change it in place.

    Args:
        model: to be run.
        layers: paths; of a module that gives several maps each is recorded, as ``path[0]``, ``path[1]``, ...
        size: (H, W) of the images that the network sees, filled up or not.
    """
    found: dict[str, Grid] = {}

    def keep(path: str, output: Any) -> Any:
        if isinstance(output, Tensor):
            if (held := axes_of(output, size)) is None:
                return output
            axes, grid = held
            found[path] = Grid(path, output, to_cells(output, grid, axes), axes)
            return output.clone()
        if isinstance(output, (list, tuple)) and not hasattr(output, "_fields"):
            return type(output)(keep(f"{path}[{number}]", part) for number, part in enumerate(output))
        return output

    def hook(module: nn.Module, args: Any, output: Any, *, path: str) -> Any:
        return keep(path, output)

    paths = dict.fromkeys(numbered(layer)[0] for layer in layers)
    modules = dict(
        model.named_modules()
    )  # not get_submodule: a backbone has a property ``stages``, as some networks do
    handles = [modules[path].register_forward_hook(partial(hook, path=path)) for path in paths]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def numbered(layer: str) -> tuple[str, str]:
    """A layer's path, and which of its outputs is meant: ``neck[1]`` -> ``neck`` and ``[1]``."""
    parts = _NUMBERED.match(layer)
    return (layer, "") if parts is None else (parts[1], f"[{parts[2]}]")


def by_preference(grids: dict[str, Grid], cells: int = CELLS) -> list[Grid]:
    """The layers that a map may be made at, best first: the deepest with at least so many cells a side.

    Maps of the deepest layer alone are usual, where images of 224 pixels leave 7 x 7 cells of it. A smaller image has
    fewer; then the deepest layer that is fine enough comes first. The others follow, the finest of them first.

    Args:
        grids: of the candidates, from the first layer to the deepest.
        cells: least cells a side.
    """
    deepest = list(grids.values())[::-1]
    sides = [min(grid.cells.shape[-2:]) for grid in deepest]
    fine = [grid for grid, side in zip(deepest, sides, strict=True) if side >= cells]
    coarse = [(side, grid) for grid, side in zip(deepest, sides, strict=True) if side < cells]
    return fine + [grid for _, grid in sorted(coarse, key=lambda one: -one[0])]
