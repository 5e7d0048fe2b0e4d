"""A loss of the user's, or of torch, in the place of one of the suite's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from scansuite.errors import SuiteError
from scansuite.own_parts import arguments_of, load_part, make_part, named_by, path_of


class OwnLoss(nn.Module):
    """A loss at a dotted path, computed in float32; 0, with gradients of 0, for a batch without cases.

    Args:
        path: of an ``nn.Module``, or the class.
        args: of its constructor, from the user.
        offered: further arguments that it gets where its constructor names them.
        asked: flags of the suite's losses that the user has given (``class_weights``): offered too, and refused where
            the constructor does not name them.
        flag: that named it.

    Raises:
        SuiteError: see :func:`~scansuite.own_parts.load_part` and :func:`~scansuite.own_parts.make_part`.
    """

    name = "own"

    def __init__(
        self,
        path: str | type[nn.Module],
        args: Mapping[str, Any] | None,
        *,
        offered: Mapping[str, Any],
        asked: Mapping[str, Any],
        flag: str = "--model.loss",
    ) -> None:
        super().__init__()
        cls = load_part(path, nn.Module, flag)
        given = {name: value for name, value in asked.items() if value}
        for name in given:
            if name not in arguments_of(cls):
                raise SuiteError(f"--model.{name}: {path_of(cls)} takes none: leave it out")
        self.where = f"{flag} {path_of(cls)}"
        self.module = make_part(cls, args, flag, named_by(cls, {**offered, **given}, args))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            output: (B, ...) of the model.
            target: (B, ...).

        Returns:
            () float32.

        Raises:
            SuiteError: it gives anything but one number, or fails.
        """
        output = output.float()
        if not len(target):
            return output.sum() * 0.0
        with torch.autocast(output.device.type, enabled=False):
            try:
                loss = self.module(output, target)
            except (TypeError, ValueError, IndexError, RuntimeError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                shapes = f"{tuple(output.shape)} and {tuple(target.shape)} {target.dtype}"
                text = " ".join(str(error).split())[:200]
                raise SuiteError(f"{self.where}: fails on {shapes}: {type(error).__name__}: {text}") from error
        if not isinstance(loss, Tensor) or loss.ndim:
            what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise SuiteError(f"{self.where}: gives {what}, and a loss is one number: take its mean")
        return loss.float()
