"""Training on features that a frozen backbone has computed once (``--data.cache features``)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from datamodules.base import ScanDataModule
from datamodules.caching.reading_version import of_classes, of_modules
from scansuite.errors import SuiteError
from tasks.hardware import exact_float32

if TYPE_CHECKING:
    from tasks.base import Task

_FLAG = "--data.cache features"
# Functions that change what a network computes, and no weight.
_BUILDING = ("backbones.network", "backbones.stem", "tasks.classify.tta", "tasks.views")


class FrozenFeatures:
    """What the frozen part of a model makes of images, in float32 whatever training computes in.

    Args:
        model: with a frozen backbone.
    """

    def __init__(self, model: Task) -> None:
        self.model = model

    @property
    def digest(self) -> str:
        """Of the network, its weights and code, the views of an image, and how images are centred and scaled."""
        return _digest(self.model)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, F) float32 on the CPU."""
        device = self.model.device
        with exact_float32(), torch.autocast(device.type, enabled=False):
            return self.model.features(image.to(device)).float().cpu()


def keep_features(model: Task, data: ScanDataModule) -> bool:
    """Let the data give features of the model's frozen backbone in place of images, where that is asked for.

    Args:
        model: as it is trained.
        data: that it is trained on.

    Returns:
        Whether the head is then fitted at once, and not trained in steps.

    Raises:
        SuiteError: this model is not trained on features, or its head is for features alone.
    """
    if data.cache != "features":
        why = model.wants_features()
        if why:
            raise SuiteError(f"{why}: give --model.freeze backbone {_FLAG} too")
        return False
    why = _unfit(model) or model.without_features()
    if why:
        raise SuiteError(f"{_FLAG}: {why}")
    data.extractor = FrozenFeatures(model)
    return model.fits_head


def _unfit(model: Task) -> str:
    """Why a model of any task cannot be trained on features that are kept; empty where it can."""
    network = model.network
    if network.freeze != "backbone":
        return "the backbone trains, and its features change with every step: give --model.freeze backbone too"
    if network.unfreeze is not None:
        return "--model.unfreeze lets the backbone train later: leave one of the two out"
    if model.distillation.teacher is not None:
        return "--model.teacher wants to see images: leave one of the two out"
    if model.pruning.method is not None:
        return "--model.prune changes the backbone: leave one of the two out"
    mixed = next((flag for flag in ("mixup", "cutmix") if getattr(model, flag)), None)
    if mixed is not None:
        return f"--model.{mixed} mixes images, and none are seen: leave it out"
    return ""


def _digest(model: Task) -> str:
    network = model.network
    import timm  # help of fit, which imports this file, does not need it

    made_by = [model.hparams.get(name) for name in ("stem", "head", "tta")]
    said = [network.name, dict(network.args), *made_by, timm.__version__, _code(model)]
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True, default=str).encode(), digest_size=16)
    digest.update(str(model.normalize.per_image).encode())
    for part in _on_the_way(model):
        for name, value in part.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _on_the_way(model: Task) -> list[nn.Module]:
    """What an image goes through until it is features; the head of a network without batch norm begins with a norm."""
    norm = getattr(getattr(model, "head", None), "norm", None)
    return [model.normalize, model.backbone, *([norm] if isinstance(norm, nn.Module) else [])]


def _code(model: Task) -> str:
    """A digest of the code that makes features: the suite's, and that of a network of the user's."""
    import timm

    from backbones.names import own_network

    layers = (type(layer) for part in _on_the_way(model) for layer in part.modules())
    classes = of_classes(type(model), type(model.backbone.net), *map(type, model.children()), *layers)
    return f"{classes} {of_modules(*_BUILDING, timm.model_entrypoint(own_network(model.network.name)).__module__)}"
