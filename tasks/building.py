"""Building of the parts of every task, backbone and normalisation, from flags and facts of the data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from backbones.initialisation import Scheme, initialise
from scansuite.errors import SuiteError
from tasks.normalize import Normalize
from tasks.parent_checkpoint import read_parent
from tasks.training.settings import within

if TYPE_CHECKING:  # brings timm, which the help of the command line can do without
    from backbones.network import Strides
    from backbones.pyramid import Backbone

log = logging.getLogger(__name__)

Stem = Literal["auto", "standard", "small"]
Statistics = tuple[list[float], list[float]]


@dataclass(frozen=True)
class NetworkSettings:
    """Network of a task, and what its weights begin with; the flags are documented in ``Task``.

    Attributes:
        input_size: (H, W) in pixels of the images to come; None where it is not known.
        unfreeze: the epoch in which a frozen backbone begins to train, or one for each of its stages; None: never.
        grad_checkpointing: activations are computed again in the backward pass.
        whole: the weights are those of a whole model, which is pruned: they are loaded later.
    """

    name: str = "resnet18"
    args: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    init: Scheme = "default"
    freeze: Literal["backbone"] | None = None
    unfreeze: int | list[int] | None = None
    stem: Stem = "auto"
    drop_path: float = 0.0
    in_channels: int = 3
    input_size: Sequence[int] | None = None
    whole: bool = False
    grad_checkpointing: bool = False

    def __post_init__(self) -> None:
        within("drop_path", self.drop_path, "at least 0 and below 1", 0 <= self.drop_path < 1)


def resolved_stem(settings: NetworkSettings, small_below: int) -> Literal["standard", "small"]:
    """Stem that a network gets: as asked for, as in the checkpoint in ``weights``, or by the size of the images.

    Args:
        settings: of the network.
        small_below: images with a side under so many pixels get a small stem where training begins from scratch.
    """
    if settings.stem != "auto":
        return settings.stem
    parent = read_parent(settings.weights)
    if parent is not None:
        return "small" if parent.stem == "small" else "standard"
    side = min(settings.input_size) if settings.input_size else None
    return "small" if settings.weights is None and side is not None and side < small_below else "standard"


def build_backbone(
    settings: NetworkSettings,
    stem: Literal["standard", "small"],
    *,
    strides: Strides,
    classes: int | None,
    image_size: tuple[int, int] | None,
    args: Mapping[str, Any],
) -> Backbone:
    """Make a backbone, initialise it or load its weights, and freeze it.

    Args:
        settings: the flags.
        stem: see :func:`resolved_stem`.
        strides: of the levels that the task reads; ``own``: each that the network has; None: the deepest alone.
        classes: of the network's own classifier; None: none.
        image_size: (H, W) of what the network is shown.
        args: of the network that the task asks for; those in ``settings`` come on top.

    Raises:
        SuiteError: flags exclude each other, there is no such network, or the weights do not fit.
    """
    from backbones.pyramid import Backbone
    from backbones.weights import load_weights

    name, weights = settings.name, settings.weights
    if settings.init != "default" and weights is not None:
        raise SuiteError(
            f"--model.init {settings.init}: --model.weights {weights} would replace what it draws: leave one out"
        )
    set_here = {"in_channels", "strides", "classes", "image_size", "small_stem", "grad_checkpointing"} & set(
        settings.args
    )
    if set_here:
        raise SuiteError(
            f"--model.backbone_args: {min(set_here)} comes from the data and from --model.stem and --model.head: "
            "leave it out"
        )
    dropped = {"drop_path_rate": settings.drop_path} if settings.drop_path else {}
    try:
        backbone = Backbone(
            name,
            settings.in_channels,
            strides,
            classes=classes,
            image_size=image_size,
            small_stem=stem == "small",
            grad_checkpointing=settings.grad_checkpointing,
            **{**dropped, **args, **settings.args},
        )
    except SuiteError as error:
        if dropped and "'drop_path_rate'" in str(error):
            raise SuiteError(
                f"--model.drop_path {settings.drop_path}: {name} has no stochastic depth: leave it out"
            ) from None
        raise
    if stem == "small":
        log.info("%s: %s", name, backbone.stem_note)
    if settings.init != "default":
        log.info("%s: %d layers initialised by %s", name, initialise(backbone, settings.init), settings.init)
    if weights is not None and not settings.whole:
        if (parent := read_parent(weights)) is not None and parent.pruned:
            raise SuiteError(
                f"--model.weights {weights}: its channels were pruned and fit no whole network: train on with "
                "--model.prune channels --model.prune_amount 0, or start from the checkpoint it came from"
            )
        log.info("%s", load_weights(backbone, weights))
    _freeze(backbone, settings)
    return backbone


def record_of_weights(settings: NetworkSettings) -> Any | None:
    """What the file of weights says of the cases it has seen, in plain types; None where it says nothing."""
    from backbones.records import read_record
    from backbones.sources import is_source

    if settings.weights in (None, "imagenet") or is_source(settings.weights) or settings.whole:
        return None
    return read_record(Path(str(settings.weights)))


def licence_of(settings: NetworkSettings) -> str | None:
    """Licence of the weights that a network begins with, as it is stated; None: it is not, or there are none."""
    from backbones.catalogue import licence_of_weights

    return licence_of_weights(settings.name, settings.weights)


def _freeze(backbone: Backbone, settings: NetworkSettings) -> None:
    epochs = settings.unfreeze
    if epochs is not None and settings.freeze != "backbone":
        raise SuiteError("--model.unfreeze: nothing is frozen: give --model.freeze backbone too")
    if isinstance(epochs, list) and len(epochs) > len(backbone.stages):
        raise SuiteError(
            f"--model.unfreeze: {len(epochs)} epochs, but {settings.name} has {len(backbone.stages)} stages: "
            f"{', '.join(backbone.stages)}"
        )
    if settings.freeze == "backbone":
        backbone.freeze()


def build_normalisation(mode: str, settings: NetworkSettings, statistics: Statistics | None) -> Normalize:
    """Make the layer that centres and scales images.

    Args:
        mode: see ``--data.normalize``.
        settings: of the network; weights from elsewhere want their own mean and deviation.
        statistics: mean and deviation of the training images; None where they are not known.
    """
    from backbones.imagenet import average_normalisation, pretrained_normalisation, source_normalisation
    from backbones.sources import is_source

    mean: Sequence[float]
    std: Sequence[float]
    channels = settings.in_channels
    parent = read_parent(settings.weights) if mode == "auto" else None
    if parent is not None and len(parent.mean) == channels:
        mean, std = parent.mean, parent.std
    elif is_source(settings.weights) and mode in ("auto", "imagenet"):
        mean, std = average_normalisation(*source_normalisation(str(settings.weights)), channels)
    elif mode == "imagenet" or (mode == "auto" and settings.weights is not None):
        mean, std = average_normalisation(*pretrained_normalisation(settings.name), channels)
    elif mode in ("auto", "train") and statistics is not None:
        mean, std = statistics
    else:
        mean, std = [0.0] * channels, [1.0] * channels
    return Normalize(mean, std, per_image=mode == "image")
