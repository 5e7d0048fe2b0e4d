"""Optimisers by name, and which parameters learn at which rate."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from inspect import signature
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from scansuite.errors import SuiteError, nearest
from scansuite.words import plain_words

# In a group of parameters: its learning rate as a share of --model.lr, by the name that timm gives it.
SCALE = "lr_scale"
# Optimisers of torch that update a parameter in one pass, on a GPU all of them in one kernel, where they are asked to.
FUSED = (Adam, AdamW, SGD)
_GIVEN = ("params", "lr", "weight_decay")  # by flags of their own
# In a group of parameters: how the optimiser is computed, which is no part of what was learnt.
_COMPUTED = ("fused", "foreach", "capturable", "differentiable")


def check_optimizer(name: str, args: Collection[str] = ()) -> None:
    """Refuse a name that timm does not know, and arguments that the optimiser does not take.

    Args:
        name: timm's name.
        args: names of further arguments.

    Raises:
        SuiteError: names the nearest right name.
    """
    from timm.optim import create_optimizer_v2, get_optimizer_class, list_optimizers

    known = list_optimizers()
    if name.lower() not in known:
        raise SuiteError(f"--model.optimizer {name!r} is unknown: {nearest(name.lower(), known)}")
    taken: dict[str, Any] = {}
    for made in (create_optimizer_v2, get_optimizer_class(name.lower(), bind_defaults=False)):
        taken |= signature(made).parameters
    strange = [arg for arg in args if arg not in taken]
    if strange and not any(one.kind is one.VAR_KEYWORD for one in signature(made).parameters.values()):
        own = [arg for arg in signature(made).parameters if arg not in _GIVEN]
        raise SuiteError(f"--model.optimizer_args: {name} takes no {strange[0]}: {nearest(strange[0], own)}")


def build_optimizer(
    model: nn.Module,
    name: str,
    lr: float,
    weight_decay: float,
    args: dict[str, Any],
    *,
    scales: Mapping[str, float] | None = None,
    waiting: Collection[str] = (),
) -> Optimizer:
    """Build any of timm's optimisers by name (``adamw``, ``adam``, ``sgd``, ``rmsprop``, ...).

    Where all parameters are on one GPU or CPU, ``adam``, ``adamw`` and ``sgd`` are fused unless ``args`` say something
    else: without it they launch some twenty kernels a step on a GPU, where AMP's scaler waits too, and on a CPU AdamW
    reads and writes its state several times (14 ms a step instead of 9 for ResNet-18). The state of an optimiser that
    is loaded does not change how it is computed, so a run goes on as well on a machine of another kind.

    Args:
        model: its parameters that require gradient are optimised.
        name: timm's name. Its ``sgd`` has Nesterov momentum, ``momentum`` is the plain one, both with 0.9 unless
            ``args`` say another number.
        lr: learning rate.
        weight_decay: decoupled in AdamW, L2 penalty elsewhere.
        args: further arguments of the optimiser (``momentum``, ``betas``, ...).
        scales: factor on the learning rate of parameters by name; 1 where a name is missing.
        waiting: names of frozen parameters that shall learn later: an optimiser passes over what has no gradient.

    Raises:
        SuiteError: the name is unknown (the nearest is named) or the optimiser does not take an argument or a value.
    """
    from timm.optim import create_optimizer_v2

    check_optimizer(name, args)
    groups = parameter_groups(model, lr, weight_decay, scales=scales or {}, waiting=waiting)
    if fits_fused(name, groups, waits=bool(waiting)) and not set(_COMPUTED) & set(args):
        args = {**args, "fused": True}
    try:
        optimizer: Optimizer = create_optimizer_v2(groups, opt=name.lower(), lr=lr, weight_decay=weight_decay, **args)
    except TypeError as error:
        raise SuiteError(f"--model.optimizer_args {args}: {name} does not take them: {plain_words(error)}") from None
    except ValueError as error:
        raise SuiteError(
            f"--model.optimizer {name} does not take --model.lr {lr}, --model.weight_decay {weight_decay} and "
            f"--model.optimizer_args {args}: {error}"
        ) from None
    optimizer.register_load_state_dict_pre_hook(_computed_as_before)
    return optimizer


def fits_fused(name: str, groups: Collection[Mapping[str, Any]], *, waits: bool = False) -> bool:
    """Whether an optimiser of timm's name is one of :data:`FUSED`, and torch fuses it where its parameters are.

    Args:
        name: timm's name.
        groups: of its parameters.
        waits: some of them learn later. Fused SGD takes the momentum of all or of none, and these have none yet.
    """
    from timm.optim import get_optimizer_class

    kind = get_optimizer_class(name.lower(), bind_defaults=False)
    if kind not in FUSED or (waits and kind is SGD):
        return False
    parameters = [parameter for group in groups for parameter in group["params"]]
    devices = {parameter.device.type for parameter in parameters}
    return devices in ({"cuda"}, {"cpu"}) and all(parameter.is_floating_point() for parameter in parameters)


def let_clip(optimizer: Optimizer) -> None:
    """Let Lightning clip the gradients of a fused optimiser.

    It refuses to, because a fused one divides them by the scale of 16-bit training itself, after they were clipped. Let
    be treated as any other it gets gradients of their own size, at the cost of one wait for the device a step where
    there is such a scale.
    """
    vars(optimizer).pop("_step_supports_amp_scaling", None)


def _computed_as_before(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A state to load, with the settings of this optimiser that say how it is computed."""
    groups = [
        {**saved, **{name: own[name] for name in _COMPUTED if name in own}}
        for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=False)
    ]
    return {**state, "param_groups": [*groups, *state["param_groups"][len(groups) :]]}


@contextmanager
def scaled_rates() -> Iterator[None]:
    """Let every optimiser step with each group's learning rate times its factor, whoever sets the rates.

    Lightning's range test gives all groups the same rate.
    """
    own: list[float] = []

    def before(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        own[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] *= group.get(SCALE, 1.0)

    def after(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for group, lr in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = lr

    handles = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    *,
    scales: Mapping[str, float],
    waiting: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay, the highest rate first.

    Weight decay leaves alone one-dimensional parameters (biases, norms) and those that ``model.no_weight_decay()``
    names.

    Args:
        model: whose parameters they are.
        lr: learning rate of parameters with a factor of 1.
        weight_decay: as a group says it to an optimiser.
        scales: see :func:`build_optimizer`.
        waiting: likewise.
    """
    exempt: set[str] = getattr(model, "no_weight_decay", set)()  # timm's names may be patterns
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad and name not in waiting:
            continue
        spared = parameter.ndim <= 1 or name.endswith(".bias") or any(fnmatch(name, pattern) for pattern in exempt)
        decays = bool(weight_decay) and not spared
        groups.setdefault((scales.get(name, 1.0), decays), []).append(parameter)
    return [
        {
            "params": groups[scale, decays],
            "lr": lr * scale,
            SCALE: scale,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for scale, decays in sorted(groups, key=lambda key: (-key[0], key[1]))
    ]
