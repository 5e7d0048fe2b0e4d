"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from datamodules.types import SuiteError, nearest

Schedule = Literal["constant", "cosine"]


def check_optimizer(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        SuiteError: names the nearest right name.
    """
    from timm.optim import list_optimizers

    known = list_optimizers()
    if name.lower() not in known:
        raise SuiteError(f"--model.optimizer {name!r} is unknown: {nearest(name.lower(), known)}")


def build_optimizer(model: nn.Module, name: str, lr: float, weight_decay: float, args: dict[str, Any]) -> Optimizer:
    """Any of timm's optimisers by name (``adamw``, ``adam``, ``sgd``, ``rmsprop``, ...).

    Weight decay leaves one-dimensional parameters (biases, norms) alone.

    Args:
        model: its parameters that require gradient are optimised.
        name: timm's name.
        lr: learning rate.
        weight_decay: decoupled in AdamW, L2 penalty elsewhere.
        args: further arguments of the optimiser (``momentum``, ``betas``, ...).

    Raises:
        SuiteError: the name is unknown (the nearest is named) or the optimiser does not take an argument or a value.
    """
    from timm.optim import create_optimizer_v2

    check_optimizer(name)
    try:
        optimizer: Optimizer = create_optimizer_v2(model, opt=name.lower(), lr=lr, weight_decay=weight_decay, **args)
    except TypeError as error:
        raise SuiteError(f"--model.optimizer_args {args}: {name} does not take them: {error}") from None
    except ValueError as error:
        raise SuiteError(
            f"--model.optimizer {name} does not take --model.lr {lr}, --model.weight_decay {weight_decay} and "
            f"--model.optimizer_args {args}: {error}"
        ) from None
    return optimizer


def build_schedule(optimizer: Optimizer, name: Schedule, steps: int, warmup: float) -> LambdaLR:
    """Linear warm-up, then constant or cosine to zero (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts).

    Args:
        optimizer: whose learning rates are scaled.
        name: the schedule.
        steps: optimiser steps in the whole training.
        warmup: share of the steps spent warming up, 0..1.
    """
    return LambdaLR(optimizer, schedule_factor(name, steps, warmup))


def schedule_factor(name: Schedule, steps: int, warmup: float) -> Callable[[int], float]:
    """The factor on the learning rate as a function of the step, 0-based."""
    if not 0 <= warmup < 1:
        raise SuiteError(f"--model.warmup {warmup}: the share of steps must be at least 0 and below 1")
    rising = round(steps * warmup)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        if name == "constant":
            return 1.0
        progress = (step - rising) / max(1, steps - rising)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
