"""``--model.weights auto``: ImageNet weights where they can be had, else from scratch."""

from __future__ import annotations

import logging

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
        ``imagenet``, or None: from scratch.
    """
    weights, why = _settled(backbone, init)
    log.info("--model.weights auto: %s: %s", weights or "from scratch", why)
    return weights


def _settled(backbone: str, init: str) -> tuple[str | None, str]:
    from huggingface_hub import constants

    from backbones.available import hub_answers, place_of, published
    from backbones.imagenet import imagenet_weights
    from backbones.names import own_network

    name = own_network(backbone)
    if init != "default":
        return None, f"--model.init {init} draws them"
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
