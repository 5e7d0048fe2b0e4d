"""Differences between an export and PyTorch, added up over scans, and how large they may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scansuite.errors import SuiteError
from tasks.exported.description import Check, Precision

# What a difference is, for the printed table.
MEANINGS = {
    "logits": "largest difference of a logit, relative to those above 1",
    "weights": "largest difference of an image's weight",
    "masks": "share of pixels that are called otherwise",
    "boxes": "largest difference of a box that may be found, in pixels",
    "scores": "largest difference of the score of a box that may be found",
    "found": "share of found boxes that the other one lacks",
}
# float32: another order of adding up. float16 has 11 binary digits: a value is off by 5e-4 of itself after each layer,
# and a network of 20 to 100 layers adds that up to some percent of a logit where scores hardly move.
TOLERANCES: Mapping[Precision, Mapping[str, float]] = {
    "fp32": {"logits": 1e-4, "weights": 1e-4, "masks": 1e-4, "boxes": 0.01, "scores": 1e-4, "found": 0.01},
    "fp16": {"logits": 0.05, "weights": 0.02, "masks": 5e-3, "boxes": 1.0, "scores": 0.02, "found": 0.05},
}


@dataclass
class Tally:
    """Largest differences, and shares, by name; :meth:`checks` says them all.

    Attributes:
        scans: that were compared.
    """

    scans: int = 0
    _largest: dict[str, float] = field(default_factory=dict)
    _shares: dict[str, tuple[float, float]] = field(default_factory=dict)

    def largest(self, name: str, wanted: Tensor, found: Tensor, *, relative: bool = False) -> None:
        """Note the largest difference of two tensors of one shape; what is no number differs from all.

        Args:
            name: of what is compared.
            wanted: by PyTorch.
            found: by the export.
            relative: to values above 1.
        """
        if wanted.shape != found.shape:
            raise SuiteError(f"the export gives {name} of {tuple(found.shape)}, and PyTorch of {tuple(wanted.shape)}")
        apart = (found.double() - wanted.double()).abs()
        if relative:
            apart = apart / wanted.double().abs().clamp_min(1)
        value = float(torch.nan_to_num(apart, nan=torch.inf).max()) if apart.numel() else 0.0
        self._largest[name] = max(self._largest.get(name, 0.0), value)

    def share(self, name: str, differing: float, of: float) -> None:
        """Note how many of some things differ."""
        before = self._shares.get(name, (0.0, 0.0))
        self._shares[name] = before[0] + differing, before[1] + of

    def checks(self, precision: Precision) -> tuple[Check, ...]:
        """All that was noted, with what it may be."""
        values = {**self._largest, **{name: part / max(of, 1.0) for name, (part, of) in self._shares.items()}}
        allowed = TOLERANCES[precision]
        return tuple(Check(name, value, allowed[name], self.scans) for name, value in values.items())
