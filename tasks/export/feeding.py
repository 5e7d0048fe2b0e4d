"""Images into an exported model, as its runner does it, and its output at the size of the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.exported.description import IMAGE
from tasks.exported.images import Runnable, fed
from tasks.exported.model_file import Outputs


class RunnableExport(Runnable, Protocol):
    """An exported model of any format, as it is run.

    Attributes:
        outputs: names of what it gives.
    """

    outputs: list[str]


def run_model(model: RunnableExport, image: NDArray[np.float32], prefix: str = "") -> Outputs:
    """Raw output for images of one size, by name; maps as large as an image are cut to it again.

    Args:
        model: the export.
        image: (B, C, H, W) in [0, 1].
        prefix: of the outputs that are wanted, those of a member.
    """
    given = fed(model.description, image)
    most = model.description.most_images or len(given)
    asked = [name for name in model.outputs if name.startswith(prefix) and "region_" not in name] if prefix else None
    parts = [model.run({IMAGE: given[start : start + most]}, asked) for start in range(0, len(given), most)]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if model.description.task == "segment":
        height, width = image.shape[-2:]
        found = {name: value[..., :height, :width] for name, value in found.items()}
    return found


class Said(Mapping[str, Tensor]):
    """What the export of one member says of some images, by names without its prefix.

    Args:
        model: the export.
        prefix: of the member.
        outputs: of all members.
    """

    def __init__(self, model: RunnableExport, prefix: str, outputs: Outputs) -> None:
        self._model, self._prefix = model, prefix
        self._own = {
            name.removeprefix(prefix): torch.from_numpy(value)
            for name, value in outputs.items()
            if name.startswith(prefix)
        }

    def __getitem__(self, name: str) -> Tensor:
        return self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def further(self, feeds: Mapping[str, Tensor], asked: Sequence[str]) -> list[Tensor]:
        """What a second stage says.

        Args:
            feeds: its inputs by name, without prefix.
            asked: its outputs, likewise.
        """
        given = {f"{self._prefix}{name}": value.detach().numpy() for name, value in feeds.items()}
        names = [f"{self._prefix}{name}" for name in asked]
        found = self._model.run(given, names)
        return [torch.from_numpy(found[name]) for name in names]
