"""Whether ImageNet weights of a network can be had here, and where they are; no download, and no long wait."""

from __future__ import annotations

from typing import Any

import timm

from backbones.imagenet import PACKAGES, cached, downloaded, package_file
from backbones.sources import here, is_source, local


def place_of(name: str) -> str | None:
    """Where on this machine ImageNet weights of a network are, in words; None: they are not here.

    Args:
        name: timm's name of a network; or a repository or a folder.
    """
    if is_source(name):
        return ("in the folder" if local(name) else "in the cache of the hub") if here(name) else None
    config = _stated(name)
    if config is None or not config.has_weights:
        return None
    package = PACKAGES.get(name.partition(".")[0])
    if package is not None and package_file(package) is not None:
        return f"in the package {package.replace('_', '-')}"
    if cached(config.hf_hub_id, config.hf_hub_filename) is not None:
        return "in the cache of the hub"
    return "in torch's cache" if config.url and downloaded(config.url) else None


def published(name: str) -> bool:
    """Whether anybody has published weights of this network: ImageNet's that timm knows of, or a repository.

    Args:
        name: as :func:`place_of` takes it; what is in a folder is no one else's to give.
    """
    if is_source(name):
        return not local(name)
    config = _stated(name)
    return bool(config is not None and config.has_weights)


def _stated(name: str) -> Any:
    """What timm states of a network's weights; None where it has no such network, or the network no such tag."""
    if not timm.is_model(name.partition(".")[0]):
        return None
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:  # of a tag; whoever builds the network names the nearest one
        return None
