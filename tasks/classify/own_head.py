"""A head of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from scansuite.own_parts import load_part, make_part, named_by, path_of
from tasks.own.trial import layers_of, try_part

FLAG = "--model.head"


class OwnHead(nn.Module):
    """A module made from ``channels``, those of the backbone's deepest level, and ``outputs``, the number of logits.

    Its ``forward(levels)`` takes the levels of the backbone, of which the last is (B, channels, h, w), and gives
    (B, outputs) logits. For ``--model.aggregate attention`` it has ``width``, ``features(levels)``, which gives
    (B, width), and ``classify(features)``, which gives (B, outputs).

    Args:
        path: of the class, or the class.
        args: of its constructor, from the user.
        outputs: number of logits.
        trial: levels of some images of the data's size.
        offered: further arguments that it gets where its constructor names them.

    Raises:
        SuiteError: see :func:`~scansuite.own_parts.load_part`; or it fails on the trial, or gives another shape.
    """

    def __init__(
        self,
        path: str | type[nn.Module],
        args: Mapping[str, Any] | None,
        *,
        outputs: int,
        trial: list[Tensor],
        offered: Mapping[str, Any],
    ) -> None:
        super().__init__()
        cls = load_part(path, nn.Module, FLAG)
        offers = {"channels": trial[-1].shape[1], "outputs": outputs, **offered}
        self.module: Any = make_part(cls, args, FLAG, named_by(cls, offers, args))
        self.pools = all(hasattr(self.module, name) for name in ("width", "features", "classify"))
        try_part(self, trial, shape=(len(trial[-1]), outputs), where=f"{FLAG} {path_of(cls)}")

    @property
    def width(self) -> int:
        """Length of what :meth:`features` gives."""
        return int(self.module.width)

    def features(self, levels: list[Tensor]) -> Any:
        """(B, width) features; or the levels, where the head has no such step."""
        return self.module.features(levels) if self.pools else levels

    def classify(self, features: Any) -> Tensor:
        """What :meth:`features` gives -> (B, outputs) logits."""
        logits: Tensor = self.module.classify(features) if self.pools else self.module(features)
        return logits

    def forward(self, levels: list[Tensor]) -> Tensor:
        """The levels of the backbone -> (B, outputs) logits."""
        return self.classify(self.features(levels))

    def output_layers(self) -> list[nn.Module]:
        """All of its layers: which of them gives the logits is not known."""
        return layers_of(self.module)
