"""Losses of boxes and of classes of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scansuite.own_parts import Part, load_part, make_part, path_of
from tasks.own.trial import try_part

_FOUND = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 3.0, 5.0]])
_TRUE = torch.tensor([[0.0, 1.0, 4.0, 5.0], [2.0, 2.0, 6.0, 6.0]])


class _OwnLoss(nn.Module):
    """A module of the user's, tried once.

    Args:
        path: of the class, or the class.
        args: of its constructor, from the user.

    Raises:
        SuiteError: see :func:`~scansuite.own_parts.load_part`; or it fails on a trial, or gives another shape.
    """

    flag: ClassVar[str]
    trial: ClassVar[tuple[Tensor, Tensor]]
    shape: ClassVar[tuple[int, ...]]

    def __init__(self, path: Part, args: Mapping[str, Any] | None) -> None:
        super().__init__()
        cls = load_part(path, nn.Module, self.flag)
        self.module = make_part(cls, args, self.flag)
        try_part(self.module, *self.trial, shape=self.shape, where=f"{self.flag} {path_of(cls)}")


class OwnBoxLoss(_OwnLoss):
    """A module whose ``forward(found, truth)`` takes (P, 4) xyxy each, P above 0, and gives (P,)."""

    flag, trial, shape = "--model.box_loss", (_FOUND, _TRUE), (2,)

    def forward(self, found: Tensor, truth: Tensor, reduction: str = "sum") -> Tensor:
        """() sum over (P, 4) boxes; 0, with a gradient of 0, where there is none."""
        summed: Tensor = self.module(found, truth).sum() if len(found) else found.sum() * 0.0
        return summed


class OwnClassLoss(_OwnLoss):
    """A module whose ``forward(logits, wanted)``, wanted being 0 or 1, gives as many numbers as there are logits."""

    flag, trial, shape = "--model.class_loss", (torch.zeros(2, 5, 3), torch.eye(5, 3).repeat(2, 1, 1)), (2, 5, 3)

    def forward(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """(B, M, C) of as many logits; M are the places of all levels."""
        loss: Tensor = self.module(logits, wanted)
        return loss
