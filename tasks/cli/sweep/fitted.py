"""A sweep whose trials fit a head to kept features at once: what their results follow, and what they do not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from scansuite.errors import SuiteError
from tasks.classify.head_names import FITTED
from tasks.cli.sweep.space import FLAG, Choices, Range, Space
from tasks.planning.settle.features import IDLE
from tasks.registry.links import least_side

log = logging.getLogger(__name__)

_HEADS = ("kernel", "levels", "pool")  # what is fitted within seconds, and to classes and numbers alike
_RIDGES = (None, 0.2, 2.0, 20.0)  # between those that are tried where it is left out
_STEP, _SMALLER, _LARGER = 32, 3, 2  # pixels, and steps down and up from the size that fit would take


def fits_heads(config: Mapping[str, Any], space: Space | None = None) -> bool:
    """Whether each trial fits its head at once.

    Args:
        config: flags by full name, with the values that the sweep starts from.
        space: may hold others.
    """

    def values(name: str) -> tuple[Any, ...]:
        part = (space or {}).get(name)
        return part.values if isinstance(part, Choices) else (config.get(name),)

    cached = all(value == "features" for value in values("data.cache"))
    return cached and all(value in FITTED for value in values("model.head"))


def around_fitted(config: Mapping[str, Any]) -> Space:
    """The neighbourhood of a fitted head: other heads, how much they are held back, and the size of the images.

    Args:
        config: flags by full name, with their values.
    """
    head, ridge, side = config["model.head"], config.get("model.l2"), config.get("data.image_size")
    space: Space = {
        "model.head": Choices(tuple(dict.fromkeys([head, *_HEADS]))),
        "model.l2": Choices(_RIDGES) if ridge is None else Range(ridge / 10, ridge * 10, log=True),
    }
    if isinstance(side, int):
        least = max(_STEP, least_side(config.get("model.weights")))  # smaller ones are enlarged to it
        low = side - _STEP * max(0, min(_SMALLER, (side - least) // _STEP))
        space["data.image_size"] = Range(low, side + _STEP * _LARGER, step=_STEP, whole=True)
    return space


def refuse_idle(file: str, space: Space, config: Mapping[str, Any], *, planned: bool) -> None:
    """Say which flags of a space are without effect, or refused, where each head is fitted at once.

    Args:
        file: of the space.
        space: read from it.
        config: flags by full name, with the values that the sweep starts from.
        planned: that it is fitted was planned, and not asked for.

    Raises:
        SuiteError: all of them are: the trials would be the same.
    """
    idle = _idle(space, config)
    if not idle:
        return
    what = f"{FLAG} {file}: {', '.join(idle)}: without effect on a head that is fitted to kept features at once"
    train = "give --model.freeze null" if planned else "leave --data.cache features out"
    if len(idle) == len(space):
        raise SuiteError(f"{what}: {train} to train the network, or vary model.head, model.l2 or data.image_size")
    log.warning("%s; %s to train the network", what, train)


def _idle(space: Space, config: Mapping[str, Any]) -> list[str]:
    if not fits_heads(config, space):
        return []
    copies = "data.feature_copies" in space or int(config.get("data.feature_copies") or 1) > 1
    names = {name: ".".join(name.split(".")[:2]) for name in space}  # model.optimizer_args.momentum: of the former
    return [name for name, flag in names.items() if flag in IDLE or (not copies and flag.startswith("data.augment"))]
