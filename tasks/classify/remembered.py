"""What heads have in common that keep features of the training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn


class Remembering(nn.Module):
    """A head some of whose buffers have as many rows as there are training images that it knows.

    Attributes:
        remembered: names of these buffers, which take their sizes from the file that is loaded.
        width: length of the features that it takes.
    """

    width: int
    remembered: ClassVar[tuple[str, ...]] = ()

    def output_layers(self) -> list[nn.Module]:
        """There are none."""
        return []

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """As many training images as the file has."""
        for name in self.remembered:
            held = state_dict.get(f"{prefix}{name}")
            if isinstance(held, Tensor):
                setattr(self, name, getattr(self, name).new_zeros(held.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
