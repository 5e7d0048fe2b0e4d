"""Networks laid out for export: what goes in and comes out by name, and which of their sides may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from backbones.pyramid import Backbone
from tasks.exported.description import IMAGE

Size: TypeAlias = tuple[int, int]
Freedom: TypeAlias = Literal["any size", "one size", "one image"]

# Images that a graph is traced with. So large that no level of a pyramid has one pixel a side, which an exporter takes
# for a side that is always 1, and unlike in height and width.
TRACED: Size = (288, 416)
BATCH = 2


@dataclass(frozen=True)
class Graph:
    """A part of a model that becomes one graph.

    Attributes:
        module: takes the inputs in order, and gives the outputs as a tuple.
        inputs: shape of each by name, to be traced with.
        outputs: names.
        dynamic: dimensions of each input that may change, and what their sizes are multiples of.
        joined: the inputs from this one on are given as one tuple; None: each for itself.
    """

    module: nn.Module
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Sequence[str]
    dynamic: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    joined: int | None = None

    def example(self) -> tuple[Any, ...]:
        """Inputs to trace with; their values do not matter."""
        generator = torch.Generator().manual_seed(0)
        return self._nested([torch.rand(*shape, generator=generator) for shape in self.inputs.values()])

    def _nested(self, flat: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(flat) if self.joined is None else (*flat[: self.joined], tuple(flat[self.joined :]))

    def dynamic_shapes(self) -> tuple[Any, ...]:
        """As ``torch.export`` wants them.

        A side that is known to be a multiple makes short expressions of what follows from it. Without, those of padding
        that depends on the size (TensorFlow's ``SAME``) grow until the exporter does not come to an end.
        """
        free: dict[str, Any] = {name: {} for name in self.inputs}
        for number, (name, sides) in enumerate(self.dynamic.items()):
            for side, multiple in sides.items():
                known = torch.export.Dim.DYNAMIC
                free[name][side] = multiple * torch.export.Dim(f"side_{number}_{side}") if multiple > 1 else known
        return self._nested(list(free.values()))


def of_images(
    module: nn.Module, channels: int, outputs: Sequence[str], freedom: Freedom, size: Size, multiple: int = 1
) -> Graph:
    """A graph with images as its only input.

    Args:
        module: from (B, C, H, W) in [0, 1] to the outputs.
        channels: of the images.
        outputs: names.
        freedom: what may change from run to run: all but the channels, the batch alone, or nothing.
        size: (H, W) of the images, where it may not change.
        multiple: of both sides, where they may.
    """
    batch = 1 if freedom == "one image" else BATCH
    sides = TRACED if freedom == "any size" else size
    free = {"any size": {0: 1, 2: multiple, 3: multiple}, "one size": {0: 1}, "one image": {}}[freedom]
    return Graph(module, {IMAGE: (batch, channels, *sides)}, outputs, {IMAGE: free})


class Levels(nn.Module):
    """A backbone as it is traced: its plain network as a submodule.

    A :class:`~backbones.pyramid.Backbone` lends its dictionaries from that, and has properties (``stages``) of names
    that submodules have too.

    Args:
        backbone: of a task.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.net = backbone.net
        # Not as submodules: the parameters are those of ``net``.
        self._levels, self._native = [backbone.forward], [backbone.forward_native]

    def forward(self, image: Tensor) -> list[Tensor]:
        """See :meth:`Backbone.forward`."""
        return self._levels[0](image)

    def native(self, image: Tensor) -> Tensor:
        """See :meth:`Backbone.forward_native`."""
        return self._native[0](image)


def filled_up(size: Size, multiple: int) -> Size:
    """(H, W) of an image -> the same as multiples of a number, or more."""
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def keep_activations(model: Any) -> None:
    """Turn gradient checkpointing off: it bears on training alone, and hides a network from whoever traces it.

    Args:
        model: whose modules remember in ``_once`` that they are computed twice.
    """
    for module in model.modules():
        if getattr(module, "_once", None) is not None:
            module._once = None
            if hasattr(module, "net"):
                module.net.set_grad_checkpointing(False)
