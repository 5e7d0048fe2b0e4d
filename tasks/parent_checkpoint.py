"""Parent checkpoint in ``--model.weights``: how its network was built, its images were preprocessed, and its head."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from backbones.weight_files import load_pickled
from scansuite.own_parts import is_path

log = logging.getLogger(__name__)

# Parts of a task that are not taken over as they are: the backbone has its own ways, the others are of the data.
_APART = ("backbone", "normalize", "metrics")


class ParentCheckpoint(NamedTuple):
    """Network and preprocessing of a parent checkpoint.

    Attributes:
        stem: ``small`` or ``standard``.
        mean: of each channel of the images it was trained on.
        std: likewise.
        pruned: its layers have fewer channels than the network of that name.
        task: that it is of.
        made: arguments that its model was made with.
        state: all its tensors by name.
    """

    stem: str
    mean: list[float]
    std: list[float]
    pruned: bool = False
    task: str = ""
    made: Mapping[str, Any] = MappingProxyType({})
    state: Mapping[str, Tensor] = MappingProxyType({})


def read_parent(weights: str | None) -> ParentCheckpoint | None:
    """Read what ``--model.weights`` brings along beside weights; None unless it is a checkpoint of the suite.

    A damaged or unsafe file gives None too: loading its weights says what is wrong with it.
    """
    if weights is None or not weights.endswith(".ckpt") or not Path(weights).is_file():
        return None
    try:
        checkpoint = load_pickled(Path(weights))
        stem = str(checkpoint["hyper_parameters"]["stem"])
        state = checkpoint["state_dict"]
        mean, std = (state[f"normalize.{name}"].flatten().tolist() for name in ("mean", "std"))
    except Exception:
        return None
    told = checkpoint.get("scansuite", {})
    return ParentCheckpoint(
        stem,
        mean,
        std,
        pruned=bool(told.get("sizes")),
        task=str(told.get("task", "")),
        made=checkpoint["hyper_parameters"],
        state=state,
    )


def go_on(model: nn.Module, parent: ParentCheckpoint, unlike: str) -> bool:
    """Begin with head, decoder or detector of a checkpoint of the same task too, and say so.

    Args:
        model: is changed in place.
        parent: of the same task.
        unlike: what its head says otherwise; empty: nothing.

    Returns:
        Whether what stands behind the backbone was taken over.
    """
    taken = [] if unlike else take_over(model, parent)
    if taken:
        log.info("--model.weights: %s taken over as well", " and ".join(taken))
    else:
        why = unlike or "other layers"
        log.info("--model.weights: the backbone alone is taken over, what stands behind it had %s", why)
    return bool(taken)


def take_over(model: nn.Module, parent: ParentCheckpoint) -> list[str]:
    """Fill what stands behind the backbone, head, decoder or detector, from a checkpoint of the same task.

    Args:
        model: is changed in place, all of it or nothing.
        parent: of the same task and the same classes.

    Returns:
        Names of the parts that were filled; none where a tensor of theirs is missing there, or of another shape.
    """
    parts = {
        name: part
        for name, part in model.named_children()
        if name not in _APART and any(True for _ in part.parameters())
    }
    states = {
        name: {key: parent.state.get(f"{name}.{key}") for key in part.state_dict()} for name, part in parts.items()
    }
    for name, part in parts.items():
        for key, own in part.state_dict().items():
            there = states[name][key]
            if there is None or there.shape != own.shape:
                return []
    for name, part in parts.items():
        part.load_state_dict(states[name])
    return list(parts)


def input_size_of(parent: ParentCheckpoint, task: str) -> list[int]:
    """(H, W) in pixels of the images that a checkpoint was trained on; empty: it is of another task, or they differed.

    Args:
        parent: that training goes on from.
        task: that shall go on from it.
    """
    return [int(side) for side in parent.made.get("input_size") or ()] if parent.task == task else []


def network_of(parent: ParentCheckpoint, task: str, behind: Sequence[str]) -> dict[str, Any]:
    """Flags of ``--model`` that say which network a checkpoint holds.

    Args:
        parent: that training goes on from.
        task: that shall go on from it.
        behind: flags of this task that shape what stands behind the backbone, which a checkpoint of another task has
            not. A class of the user's own is left out: a file that one was handed names no code that is run.
    """
    made = parent.made
    named: dict[str, Any] = {"backbone": str(made["backbone"])}
    parts = [made[name] for name in behind if isinstance(made.get(name), str)]
    shaping = behind if parent.task == task and not any(map(is_path, parts)) else ()
    named |= {"backbone_args": made["backbone_args"]} if made.get("backbone_args") else {}
    return named | {name: made[name] for name in shaping if name in made}
