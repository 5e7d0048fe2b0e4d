"""Catalogue of networks: family, parameters, strides, image size and licence of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import timm
import torch

import backbones.classic  # noqa: F401  registers its networks in timm's registry
from backbones.names import own_network
from backbones.records import read_licence
from backbones.sources import described, is_source


class Facts(NamedTuple):
    """A network as published, with its classifier.

    Attributes:
        family: timm's module that holds it.
        name: for ``--model.backbone``.
        parameters: with the classifier of its own number of classes.
        strides: of its features, fine to coarse, each once.
        size: (height, width) in pixels of the images it was published for.
        fixed: it is laid out for that size; the suite lays it out anew where it can.
        licence: of its pretrained weights, several where the tags differ; empty: there are none.
    """

    family: str
    name: str
    parameters: int
    strides: tuple[int, ...]
    size: tuple[int, int]
    fixed: bool
    licence: str


def families() -> dict[str, list[str]]:
    """Names of all networks by family, each sorted; timm's miniatures for tests and the user's own are left out."""
    return {
        family: names
        for family in sorted(timm.list_modules())
        if (names := [name for name in timm.list_models(module=family) if not name.startswith("test_")])
        and timm.model_entrypoint(names[0]).__module__.startswith(("timm.", "backbones."))
    }


def facts_of(family: str, name: str) -> Facts:
    """Builds a network without making any weight, and reads off what it is.

    Raises:
        Exception: of any kind, where timm cannot build it.
    """
    with torch.device("meta"):
        net = timm.create_model(name)
    config = timm.get_pretrained_cfg(name)
    height, width = config.input_size[-2:] if config else (224, 224)
    return Facts(
        family=family,
        name=name,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        strides=tuple(sorted({int(info["reduction"]) for info in net.feature_info})),
        size=(int(height), int(width)),
        fixed=bool(config and config.fixed_input_size),
        licence=" or ".join(dict.fromkeys(_licences(name))),
    )


def weights_licence(name: str) -> str | None:
    """Licence of the ImageNet weights that a network begins with; None where none is stated."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return config.license if config is not None and config.license else None


def licence_of_weights(name: str, weights: str | None) -> str | None:
    """Licence of the weights that a network begins with; None where none is stated, as in most files.

    Args:
        name: of the network.
        weights: see ``--model.weights``.
    """
    if is_source(weights):
        return described(str(weights)).licence
    if weights == "imagenet":
        return weights_licence(name)
    return None if weights is None else read_licence(Path(weights))


def has_stochastic_depth(name: str) -> bool:
    """Whether a network can pass over blocks in training (``--model.drop_path``)."""
    with torch.device("meta"):  # without memory or arithmetic
        try:
            timm.create_model(own_network(name), drop_path_rate=0.1)
        except TypeError:  # no such argument
            return False
    return True


def _licences(name: str) -> Iterator[str]:
    """Licence of each of the weights that timm knows for a network."""
    for tagged in (name, *timm.list_models(f"{name}.*", pretrained=True)):
        config = timm.get_pretrained_cfg(tagged)
        if config is not None and config.has_weights:
            yield config.license or "not stated"
