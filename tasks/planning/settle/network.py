"""The network and the weights that it starts from."""

from __future__ import annotations

from typing import NamedTuple

from datamodules.windows import parse_windows
from scansuite.words import number_of
from tasks.planning.budget import Quality
from tasks.planning.draft import Draft


class Choice(NamedTuple):
    """A network, and why it is taken.

    Attributes:
        name: for ``--model.backbone``.
        reason: in words.
        source: of the reason.
    """

    name: str
    reason: str
    source: str


_LITE = "tf_efficientnet_lite0"
_CONVNEXT = "Liu et al., A ConvNet for the 2020s, CVPR 2022"

# With ImageNet weights, by what trains; in the order in which they are asked for.
ON_CPU = Choice(_LITE, "0.4 billion multiply-adds at 224 px, which a processor can train", "README.md")
ON_GPU = Choice("convnext_tiny", "4.5 billion multiply-adds at 224 px, which a GPU can train", _CONVNEXT)
ON_CPU_BEST = Choice(
    "tf_efficientnet_lite2", "more careful than lite0, at twice the time", "timm's results on ImageNet"
)
ON_GPU_BEST = Choice("convnext_small", "more careful than convnext_tiny, at twice the time", _CONVNEXT)

_SOURCES = ("hf-hub:", "local-dir:")  # of networks that bring weights of their own

# From scratch.
SCRATCH = Choice("resnet18", "it learns from scratch what small sets hold", "He et al., CVPR 2016")

# All that may be looked for on a machine.
WITH_WEIGHTS = tuple(choice.name for choice in (ON_CPU, ON_CPU_BEST, ON_GPU, ON_GPU_BEST))


def network(draft: Draft) -> None:
    """Network and weights: pretrained where the weights can be had, else a small network from scratch."""
    if draft.is_given("model.init") and draft.value("model.init") != "default":
        return  # weights would replace what it draws
    if draft.is_given("model.weights") and draft.value("model.weights") not in ("auto", "imagenet"):
        return  # from scratch by wish, or from a file, whose network the user knows
    if draft.is_given("model.backbone"):
        weights_of(draft, str(draft.value("model.backbone")))
        return
    wanted = _pretrained(draft)
    if wanted is None:
        draft.plan("model.backbone", *SCRATCH)
        why = f"ImageNet weights of {_first(draft).name} are not on this machine, and the hub is out of reach"
        draft.plan("model.weights", None, why, "machine")
        return
    draft.plan("model.backbone", *wanted)
    weights_of(draft, wanted.name)


def first_choice(device: str, quality: Quality) -> Choice:
    """The network that a machine and the time ask for.

    Args:
        device: kind of what trains, as :attr:`~tasks.planning.machine.Machine.device` has it.
        quality: that is asked for.
    """
    best = quality == "best"
    if device == "cpu" or quality == "quick":
        return ON_CPU_BEST if best else ON_CPU
    return ON_GPU_BEST if best else ON_GPU


def _first(draft: Draft) -> Choice:
    return first_choice(draft.machine.device, draft.budget.quality)


def _pretrained(draft: Draft) -> Choice | None:
    """The first network, of those that suit, whose weights can be had."""
    choices = (_first(draft), *((ON_GPU,) if draft.machine.device == "cuda" else ()), ON_CPU)
    return next((choice for choice in choices if can_be_had(draft, choice.name)), None)


def can_be_had(draft: Draft, name: str) -> bool:
    """Whether ImageNet weights of a network are on this machine, or can be fetched."""
    return name in (*draft.machine.weights, *draft.machine.hub)


def pretrained(draft: Draft) -> bool:
    """Whether the network that is settled begins from weights: ImageNet's, or those of a file."""
    if draft.value("model.weights") == "auto":
        drawn = draft.value("model.init") not in (None, "default")
        return not drawn and can_be_had(draft, str(draft.value("model.backbone")))
    return draft.value("model.weights") is not None


def goes_on(draft: Draft) -> bool:
    """Whether it begins from a checkpoint of the suite, which knows images of the size that it was trained at."""
    return str(draft.value("model.weights")).endswith(".ckpt")


def seen_channels(draft: Draft) -> int:
    """Channels that the network sees: several windows are as many."""
    return max(draft.fingerprint.channels, len(parse_windows(draft.value("data.window"))))


def weights_of(draft: Draft, name: str) -> None:
    """Plan the weights of a network that is settled, by where they can be had.

    Args:
        draft: to plan in.
        name: of the network.
    """
    channels = seen_channels(draft)
    if not can_be_had(draft, name):
        draft.plan("model.weights", None, f"ImageNet weights of {name} cannot be had on this machine", "machine")
        return
    where = "are on this machine" if name in draft.machine.weights else "can be fetched from the hub"
    fitted = "" if channels == 3 else f"; their first layer is fitted to {number_of(channels, 'channel')}"
    if name.startswith(_SOURCES):
        draft.plan("model.weights", name, f"its own weights {where}{fitted}", "machine")
        return
    draft.plan("model.weights", "imagenet", f"ImageNet weights of {name} {where}{fitted}", "machine")
