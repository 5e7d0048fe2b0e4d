"""A look at the loss of some steps, for which a GPU is not waited for."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from scansuite.errors import SuiteError

LOOK = 20  # steps from one look at values to the next


class FiniteLoss:
    """Refuses to train on with a loss that is infinite or no number.

    On a GPU the answer is copied while the next steps go on, and read once it is there. Copies of a model begin without
    any.
    """

    def __init__(self) -> None:
        self._answer: Tensor | None = None
        self._event: Any = None  # of the copy; None: nothing is asked
        self._asked: tuple[int, int, Tensor] | None = None

    def look(self, loss: Tensor, epoch: int, step: int) -> None:
        """Look at the loss of each :data:`LOOK`-th step, and at what was asked before.

        Raises:
            SuiteError: that loss, or an earlier one, is not finite.
        """
        if not loss.is_cuda:
            if step % LOOK == 0 and not torch.isfinite(loss):
                raise _refusal(loss, epoch, step)
            return
        if self._event is not None and self._event.query():
            self.settle()
        if step % LOOK == 0 and self._event is None:
            if self._answer is None:
                self._answer = torch.empty((), dtype=torch.bool, pin_memory=True)
            self._answer.copy_(torch.isfinite(loss.detach()), non_blocking=True)
            self._asked = epoch, step, loss.detach()
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def settle(self) -> None:
        """Wait for the answer that is due, if one is.

        Raises:
            SuiteError: the loss was not finite.
        """
        if self._event is None or self._asked is None or self._answer is None:
            return
        self._event.synchronize()
        (epoch, step, loss), self._event, self._asked = self._asked, None, None
        if not bool(self._answer):
            raise _refusal(loss, epoch, step)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __getstate__(self) -> dict[str, Any]:
        return vars(type(self)())


def _refusal(loss: Tensor, epoch: int, step: int) -> SuiteError:
    return SuiteError(
        f"the training loss is {loss.item()} in epoch {epoch + 1}, step {step + 1}: lower "
        "--model.lr, clip with --trainer.gradient_clip_val 1, or train with --trainer.precision 32-true"
    )
