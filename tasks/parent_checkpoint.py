"""Parent checkpoint in ``--model.weights``: how its network was built and its images were preprocessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from backbones.weight_files import load_pickled


class ParentCheckpoint(NamedTuple):
    """Network and preprocessing of a parent checkpoint.

    Attributes:
        stem: ``small`` or ``standard``.
        mean: of each channel of the images it was trained on.
        std: likewise.
        pruned: its layers have fewer channels than the network of that name.
        licence: of the weights that it began with itself; None: none is stated.
    """

    stem: str
    mean: list[float]
    std: list[float]
    pruned: bool = False
    licence: str | None = None


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
    made = checkpoint.get("scansuite", {})
    return ParentCheckpoint(stem, mean, std, bool(made.get("sizes")), made.get("weights_licence"))


def network_of(weights: str) -> dict[str, Any]:
    """Flags of ``--model`` that say which network a checkpoint of the suite holds; empty where it is none."""
    if not weights.endswith(".ckpt") or not Path(weights).is_file():
        return {}
    try:
        made = load_pickled(Path(weights))["hyper_parameters"]
        named = {"backbone": str(made["backbone"])}
    except Exception:  # as above
        return {}
    return named | ({"backbone_args": made["backbone_args"]} if made.get("backbone_args") else {})
