"""``--model.weights auto``: ImageNet weights where they can be had, else from scratch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

AUTO = "auto"


def settle_weights(backbone: str, init: str = "default") -> str | None:
    """What ``auto`` stands for here; one line of the log says it, and why.

    Weights that are not on this machine are fetched now, so that what cannot be fetched after all (a hub that answers
    and refuses) ends in a training from scratch too, and not in an error.

    Args:
        backbone: name of the network, as ``--model.backbone`` takes it.
        init: see ``--model.init``.

    Returns:
        ``imagenet``; or ``backbone`` itself, where it is a repository or a folder; or None: from scratch.
    """
    weights, why = _settled(backbone, init)
    log.info("--model.weights auto: %s: %s", weights or "from scratch", why)
    return weights


def resolved(
    backbone: str, args: Mapping[str, Any] | None, weights: str | None, init: str
) -> tuple[str, dict[str, Any], str | None]:
    """Network, its arguments and weights of which nothing is left to settle, so that a checkpoint needs no source.

    Args:
        backbone: as ``--model.backbone`` takes it; of a repository or a folder its network comes back.
        args: see ``--model.backbone_args``; they come on top of those of the source.
        weights: see ``--model.weights``.
        init: see ``--model.init``.

    Raises:
        SuiteError: a repository or a folder describes no network, or ``imagenet`` is asked of it.
    """
    from backbones.sources import described, is_source

    if weights == AUTO:
        weights = settle_weights(backbone, init)
    if not is_source(backbone):
        return backbone, dict(args or {}), weights
    said = described(backbone)
    if weights == "imagenet":
        raise SuiteError(f"--model.weights imagenet: {backbone} has weights of its own: give --model.weights auto")
    return said.architecture, {**said.args, **(args or {})}, weights


def _settled(backbone: str, init: str) -> tuple[str | None, str]:
    from huggingface_hub import constants

    from backbones.available import place_of, published
    from backbones.hub import hub_answers
    from backbones.imagenet import imagenet_weights
    from backbones.names import own_network
    from backbones.sources import described, is_source, local

    if init != "default":
        return None, f"--model.init {init} draws them"
    if is_source(backbone):
        return (
            backbone,
            f"{described(backbone).architecture} as {'the folder' if local(backbone) else 'the hub'} has it",
        )
    name = own_network(backbone)
    place = place_of(name)
    if place is not None:
        return "imagenet", f"those of {name} are {place}"
    if not published(name):
        return None, f"nobody has published any for {name}"
    if not hub_answers():
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub is out of reach"
        return None, f"those of {name} are not on this machine, and {why}"
    try:
        imagenet_weights(name)
    except SuiteError:
        return None, f"those of {name} are not on this machine, and the hub does not give them"
    return "imagenet", f"those of {name} were fetched from the hub"
