"""Losses of boxes and of classes of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from scansuite.own_parts import load_part, make_part, path_of
from tasks.own_trial import try_part

_FOUND = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 3.0, 5.0]])
_TRUE = torch.tensor([[0.0, 1.0, 4.0, 5.0], [2.0, 2.0, 6.0, 6.0]])


class OwnBoxLoss(nn.Module):
    """A module whose ``forward(found, truth)`` takes (P, 4) xyxy each, P above 0, and gives (P,).

    Args:
        path: of the class, or the class.
        args: of its constructor, from the user.

    Raises:
        SuiteError: see :func:`~scansuite.own_parts.load_part`; or it fails on a trial, or gives another shape.
    """

    def __init__(self, path: str | type[nn.Module], args: Mapping[str, Any] | None) -> None:
        super().__init__()
        flag = "--model.box_loss"
        cls = load_part(path, nn.Module, flag)
        self.module = make_part(cls, args, flag)
        try_part(self.module, _FOUND, _TRUE, shape=(2,), where=f"{flag} {path_of(cls)}")

    def forward(self, found: Tensor, truth: Tensor, reduction: str = "sum") -> Tensor:
        """() sum over (P, 4) boxes; 0, with a gradient of 0, where there is none."""
        summed: Tensor = self.module(found, truth).sum() if len(found) else found.sum() * 0.0
        return summed


class OwnClassLoss(nn.Module):
    """A module whose ``forward(logits, wanted)``, wanted being 0 or 1, gives as many numbers as there are logits.

    Args:
        path: of the class, or the class.
        args: of its constructor, from the user.

    Raises:
        SuiteError: see :func:`~scansuite.own_parts.load_part`; or it fails on a trial, or gives another shape.
    """

    def __init__(self, path: str | type[nn.Module], args: Mapping[str, Any] | None) -> None:
        super().__init__()
        flag = "--model.class_loss"
        cls = load_part(path, nn.Module, flag)
        self.module = make_part(cls, args, flag)
        wanted = torch.eye(5, 3).repeat(2, 1, 1)
        try_part(self.module, torch.zeros(2, 5, 3), wanted, shape=(2, 5, 3), where=f"{flag} {path_of(cls)}")

    def forward(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """(B, M, C) of as many logits; M are the places of all levels."""
        loss: Tensor = self.module(logits, wanted)
        return loss
