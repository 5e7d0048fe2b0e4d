"""Learning-rate schedules by name, made of torch's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torch_schedules
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from scansuite.errors import SuiteError, nearest

Schedule = Literal[
    "constant", "step", "multistep", "exponential", "plateau", "cosine", "cosine_restarts", "cyclic", "onecycle",
    "polynomial",
]  # fmt: skip

CYCLE = ("cycle_momentum", "base_momentum", "max_momentum")
TEXTS = ("mode", "threshold_mode", "anneal_strategy")
# What each takes under --model.schedule_args. Lengths are in epochs, as in the textbooks.
ARGS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "step": ("step_size", "gamma"),
    "multistep": ("milestones", "gamma"),
    "exponential": ("gamma",),
    "plateau": ("factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps"),
    "cosine": ("t_max", "min_lr"),
    "cosine_restarts": ("t_0", "t_mult", "min_lr"),
    "cyclic": ("base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma", *CYCLE),
    "onecycle": (
        "max_lr", "pct_start", "anneal_strategy", "div_factor", "final_div_factor", "three_phase", *CYCLE,
    ),
    "polynomial": ("t_max", "power"),
}  # fmt: skip


class Span(NamedTuple):
    """Length of a training."""

    epochs: int
    steps_per_epoch: int
    steps: int  # of the optimiser in all


def check_schedule(name: str, args: Mapping[str, Any], lr: float, warmup: float) -> None:
    """Refuse at start what :func:`build_schedules` would refuse once the data have been read.

    Raises:
        SuiteError: names the flag.
    """
    build_schedules(
        SGD([nn.Parameter()], lr=lr, momentum=0.9), name, args, lr=lr, span=Span(20, 10, 200), warmup=warmup
    )


def build_schedules(
    optimizer: Optimizer,
    name: str,
    args: Mapping[str, Any],
    *,
    lr: float,
    span: Span,
    warmup: float,
    mode: Literal["min", "max"] = "max",
) -> tuple[LRScheduler | None, ReduceLROnPlateau | None]:
    """A schedule with a linear warm-up in front of it.

    ``step``, ``multistep`` and ``exponential`` count their epochs from the start of the training, and the warm-up is a
    factor on them; the others begin where the warm-up ends and have the rest of the training for themselves:

    - ``constant``;
    - ``step``: times ``gamma`` (0.1) every ``step_size`` epochs (a third of all);
    - ``multistep``: times ``gamma`` (0.1) at ``milestones`` (half and three quarters of the epochs);
    - ``exponential``: times ``gamma`` (0.95) every epoch;
    - ``plateau``: times ``factor`` (0.1) once the metric has not risen for more than ``patience`` (10) epochs;
    - ``cosine`` to ``min_lr`` (0) in ``t_max`` epochs (the rest), as in SGDR (Loshchilov and Hutter, ICLR 2017);
    - ``cosine_restarts``: the same again and again, in ``t_0`` epochs (a third), then each ``t_mult`` (1) times longer;
    - ``cyclic``: from ``base_lr`` (a tenth) to ``max_lr`` (the learning rate) in ``step_size_up`` epochs (2) and back
      (Smith, WACV 2017);
    - ``onecycle``: up to ``max_lr`` in ``pct_start`` (0.3) of the steps, then down (Smith and Topin, 2019);
    - ``polynomial``: (1 - t / ``t_max``) ^ ``power`` (1).

    Args:
        optimizer: whose learning rates move, each group's by the same factor.
        name: of the schedule.
        args: see :data:`ARGS`; what is not named there is torch's default.
        lr: learning rate of groups whose factor is 1.
        span: length of the training.
        warmup: share of the steps spent warming up, 0..1.
        mode: whether ``plateau`` watches a metric that rises or one that falls.

    Returns:
        What is stepped after each step of the optimiser, and what is stepped each epoch with the metric; None where
        there is nothing to do.

    Raises:
        SuiteError: an unknown name or argument (the nearest is named), or a value that cannot be.
    """
    if name not in ARGS:
        raise SuiteError(f"--model.schedule {name!r} is unknown: {nearest(name, ARGS)}")
    for arg in args:
        if arg not in ARGS[name]:
            hint = nearest(arg, ARGS[name]) if ARGS[name] else "leave it out"
            raise SuiteError(f"--model.schedule_args.{arg}: the schedule {name} does not take it: {hint}")
        if isinstance(args[arg], str) and arg not in TEXTS:
            raise SuiteError(f"--model.schedule_args.{arg} {args[arg]}: expected a number")
    if not 0 <= warmup < 1:
        raise SuiteError(f"--model.warmup {warmup}: the share of steps must be at least 0 and below 1")
    rising = round(span.steps * warmup)
    try:
        return _build(optimizer, name, dict(args), lr, span, rising, mode)
    except (TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        text = " ".join(str(error).split())[:160]
        raise SuiteError(f"--model.schedule_args {dict(args)}: {name} does not take these values: {text}") from None


def _build(
    optimizer: Optimizer,
    name: str,
    args: dict[str, Any],
    lr: float,
    span: Span,
    rising: int,
    mode: Literal["min", "max"],
) -> tuple[LRScheduler | None, ReduceLROnPlateau | None]:
    rest = max(1, span.steps - rising)

    def steps(epochs: float) -> int:
        if not epochs > 0:
            raise ValueError(f"{epochs} epochs: must be above 0")
        return max(1, round(epochs * span.steps_per_epoch))

    if name == "plateau":
        return _warmup(optimizer, rising), ReduceLROnPlateau(optimizer, mode=mode, **args)
    if name in ("step", "multistep", "exponential"):
        main = _staircase(optimizer, name, args, span, steps)
        rise = _warmup(optimizer, rising)
        return (main if rise is None else torch_schedules.ChainedScheduler([rise, main])), None
    if name == "constant":
        return _warmup(optimizer, rising), None
    main = _curve(optimizer, name, args, lr, span, rest, steps)
    if not rising:
        return main, None
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"]  # the warm-up rises to where the schedule begins
    rise = _warmup(optimizer, rising)
    assert rise is not None
    return torch_schedules.SequentialLR(optimizer, [rise, main], milestones=[rising]), None


def _warmup(optimizer: Optimizer, rising: int) -> LRScheduler | None:
    """In even steps, of which the first is not 0, to the whole."""
    if not rising:
        return None
    return torch_schedules.LinearLR(optimizer, start_factor=1 / (rising + 1), total_iters=rising)


def _staircase(
    optimizer: Optimizer, name: str, args: dict[str, Any], span: Span, steps: Callable[[float], int]
) -> LRScheduler:
    gamma = args.get("gamma", 0.95 if name == "exponential" else 0.1)
    if not gamma > 0:
        raise ValueError(f"gamma {gamma}: must be above 0")
    if name == "multistep":
        milestones = args.get("milestones", [span.epochs / 2, span.epochs * 3 / 4])
        return torch_schedules.MultiStepLR(optimizer, [steps(epoch) for epoch in milestones], gamma)
    every = args.get("step_size", max(1, span.epochs // 3)) if name == "step" else 1
    return torch_schedules.StepLR(optimizer, steps(every), gamma)


def _curve(
    optimizer: Optimizer,
    name: str,
    args: dict[str, Any],
    lr: float,
    span: Span,
    rest: int,
    steps: Callable[[float], int],
) -> LRScheduler:
    lowest = min(float(group["lr"]) for group in optimizer.param_groups)
    if args.get("min_lr", 0.0) > lowest:
        raise ValueError(f"min_lr {args['min_lr']} lies above the lowest learning rate {lowest:g}")
    if "t_max" in args:
        rest = steps(args.pop("t_max"))
    if name == "cosine":
        return torch_schedules.CosineAnnealingLR(optimizer, rest, args.get("min_lr", 0.0))
    if name == "polynomial":
        return torch_schedules.PolynomialLR(optimizer, rest, **args)
    if name == "cosine_restarts":
        first = steps(args.get("t_0", max(1, span.epochs // 3)))
        return torch_schedules.CosineAnnealingWarmRestarts(
            optimizer, first, args.get("t_mult", 1), args.get("min_lr", 0.0)
        )
    factors = [float(group["lr"]) / lr for group in optimizer.param_groups]
    highest, least = args.pop("max_lr", lr), args.pop("base_lr", lr / 10)
    top, bottom = [highest * factor for factor in factors], [least * factor for factor in factors]
    if name == "onecycle":
        # One step more than is taken, so that the last value is the one after the last step.
        args.setdefault("cycle_momentum", bool({"betas", "momentum"} & set(optimizer.defaults)))
        return torch_schedules.OneCycleLR(optimizer, top, total_steps=rest + 1, **args)
    up = steps(args.pop("step_size_up", 2))
    down = steps(args.pop("step_size_down")) if "step_size_down" in args else None
    args.setdefault("cycle_momentum", False)
    return torch_schedules.CyclicLR(optimizer, bottom, top, up, down, **args)
