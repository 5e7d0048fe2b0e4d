"""Plain timm networks by name: tried once without memory to learn what they can do, then built or refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from math import log2
from typing import Any, Literal, NamedTuple, TypeAlias

import timm
import torch
from torch import Tensor, nn

import backbones.classic  # noqa: F401  registers its networks in timm's registry
from backbones.names import own_network
from backbones.sources import is_source
from backbones.stem import StemChange, shrink_stem
from scansuite.errors import SuiteError

# Networks that cannot serve, by the start of their name, and why.
REFUSED = {"gemma4_vit": "its layout depends on the values in the image, so it can be neither planned nor exported"}

# Arguments of timm that are set otherwise here.
OWN_NAMES = {
    "in_chans": "the data's channels",
    "num_classes": "the data's classes",
    "img_size": "--data.image_size",
    "drop_rate": "--model.dropout",
    "out_indices": "the task's strides",
    "features_only": "the task's strides",
    "pretrained": "--model.weights",
}


# Levels of a pyramid: of these strides; ``own``: one at each stride that the network has; None: the deepest.
Strides: TypeAlias = Sequence[int] | Literal["own"] | None


class Plan(NamedTuple):
    """Everything that ``build`` needs to make a network, found by ``plan``."""

    name: str
    args: dict[str, Any]  # for timm.create_model
    strides: tuple[int, ...] | Literal["own"] | None  # see Strides
    native: bool  # the network's own pooling and classifier stay
    small_stem: bool
    unused: frozenset[str] = frozenset()  # parameters that the outputs asked for do not depend on
    channels: tuple[int, ...] = ()  # of each level


class Network(NamedTuple):
    """A plain timm network and where its levels are."""

    net: Any  # nn.Module with timm's forward_intermediates
    stem: StemChange
    features: list[int]  # indices of the features to take, ascending
    levels: list[int]  # for each level: its place in ``features``
    reductions: list[int]  # for each level: the network's own stride there


def plan(
    name: str,
    in_channels: int,
    strides: Strides,
    *,
    classes: int | None,
    image_size: tuple[int, int] | None,
    small_stem: bool,
    args: dict[str, Any],
) -> Plan:
    """Finds arguments with which a network can be built and takes the images asked for.

    The trial runs on the meta device: shapes and the autograd graph without weights or arithmetic, so it is exact and
    costs the same at 64 and at 1024 pixels. Networks of a fixed image size get ``img_size`` where they take it, and are
    made to accept other sizes where they can.

    Raises:
        SuiteError: no such network or argument, or the network cannot take such images.
    """
    check_name(name)
    for key, setter in OWN_NAMES.items():
        if key in args:
            raise SuiteError(
                f"backbone argument {key!r}: it is set by {setter} here, not as an argument of the network"
            )
    config = timm.get_pretrained_cfg(name)
    published = own_size(name)
    height, width = image_size or published
    given = {"num_classes": classes or 0, "in_chans": in_channels, **args}
    levels = strides if strides is None or isinstance(strides, str) else tuple(strides)
    reason = ""
    for options in _size_options(bool(config and config.fixed_input_size), image_size):
        trial = Plan(name, {**options, **given}, levels, classes is not None, small_stem)
        try:
            with torch.device("meta"):
                return _probe(build(trial), trial, torch.empty(1, in_channels, height, width))
        except SuiteError:  # of our own networks, which say it themselves
            raise
        except Exception as error:  # a thousand networks raise all there is
            text = " ".join(str(error).split()) or type(error).__name__
            for key in args:
                if isinstance(error, TypeError) and f"'{key}'" in text:
                    raise SuiteError(f"backbone {name!r} takes no argument {key!r}") from error
            if not any(f"'{key}'" in text for key in options):  # else only: it does not know this option
                reason = reason or text
    raise SuiteError(
        f"backbone {name!r} cannot take {in_channels}-channel images of {height}x{width}: {reason[:200]}; "
        f"its own size is {published[0]}x{published[1]} (--data.image_size)"
    )


def build(plan: Plan) -> Network:
    """Builds the network of a plan on the default device; prunes, as timm does, what its levels do not need."""
    net = timm.create_model(plan.name, **plan.args)
    stem = shrink_stem(net) if plan.small_stem else StemChange(False, "stem as published")
    reductions = [int(info["reduction"]) for info in net.feature_info]
    if plan.strides is None:
        chosen = [len(reductions) - 1]
    elif plan.strides == "own":
        chosen = sorted({reduction: index for index, reduction in enumerate(reductions)}.values())
    else:
        # By octaves; the last feature of the nearest stride, and the deeper of two strides equally near.
        distance = [[abs(log2(reduction / stride)) for reduction in reductions] for stride in plan.strides]
        chosen = [max(i for i, octaves in enumerate(row) if octaves == min(row)) for row in distance]
    features = sorted(set(chosen))
    if not plan.native and hasattr(net, "prune_intermediate_layers"):
        net.prune_intermediate_layers(features, prune_norm=True)
    levels = [features.index(index) for index in chosen]
    return Network(net, stem, features, levels, [reductions[index] for index in chosen])


def intermediates(network: Network, image: Tensor) -> list[Tensor]:
    """The levels of a pyramid as the network gives them, NCHW, final norms left out."""
    features = network.net.forward_intermediates(
        image, indices=network.features, norm=False, output_fmt="NCHW", intermediates_only=True
    )
    return [features[level] for level in network.levels]


def check_name(name: str) -> None:
    """Refuse a network that timm does not have, or that cannot be used here.

    Raises:
        SuiteError: names the nearest right name, or the reason.
    """
    asked, name = name, own_network(name)
    known = timm.list_models()
    if is_source(asked) and name not in known:
        raise SuiteError(f"--model.backbone {asked}: it describes {name!r}, which this version of timm does not have")
    architecture, _, tag = name.partition(".")
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=1, cutoff=0.0)[0]
        raise SuiteError(f"unknown backbone {name!r} (--model.backbone): did you mean {near!r}?")
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        near = difflib.get_close_matches(name, [architecture, *tagged], n=1, cutoff=0.0)[0]
        raise SuiteError(f"unknown weights tag in backbone {name!r} (--model.backbone): did you mean {near!r}?")
    for prefix, reason in REFUSED.items():
        if name.startswith(prefix):
            raise SuiteError(f"backbone {name!r} (--model.backbone) cannot be used: {reason}")


def own_size(name: str) -> tuple[int, int]:
    """(height, width) in pixels of the images that a network was published for."""
    config = timm.get_pretrained_cfg(name)
    height, width = config.input_size[-2:] if config else (224, 224)
    return int(height), int(width)


def _size_options(fixed: bool, image_size: tuple[int, int] | None) -> Iterator[dict[str, Any]]:
    flexible: list[dict[str, Any]] = [{"dynamic_img_size": True}, {"strict_img_size": False}, {}] if fixed else [{}]
    if fixed and image_size is not None:
        yield from ({"img_size": image_size, **option} for option in flexible)
    yield from flexible


def _probe(network: Network, plan: Plan, image: Tensor) -> Plan:
    network.net.eval()
    with torch.inference_mode(False), torch.enable_grad():
        levels = intermediates(network, image)
        outputs = [network.net(image)] if plan.native else levels
    if not all(isinstance(output, Tensor) for output in outputs):
        raise ValueError("it returns more than one output")
    used = _parameters_behind(outputs)
    unused = frozenset(name for name, parameter in network.net.named_parameters() if id(parameter) not in used)
    return plan._replace(unused=unused, channels=tuple(level.shape[1] for level in levels))


def _parameters_behind(outputs: Sequence[Tensor]) -> set[int]:
    """Ids of the parameters in the autograd graph of these outputs."""
    found: set[int] = set()
    seen: set[Any] = set()
    stack: list[Any] = [output.grad_fn for output in outputs]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(variable := getattr(node, "variable", None), nn.Parameter):
            found.add(id(variable))
        stack.extend(parent for parent, _ in node.next_functions)
    return found
