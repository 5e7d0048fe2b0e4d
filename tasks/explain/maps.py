"""Maps of what raises a model's number in an image: every method, task and network through one function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scansuite.errors import SuiteError, nearest
from tasks.ensemble import Ensemble
from tasks.explain.computing import NO_GRADIENT, RawMap, maps_of
from tasks.explain.explainer import Explainer, looking
from tasks.explain.methods import ATTENTION, GRADIENT, METHODS, Method
from tasks.explain.rollout import why_not
from tasks.explain.targets import Target
from tasks.loading import Model
from tasks.registry.specs import spec_of

FloatArray = NDArray[np.float32]
IMAGES = 3  # of a bag, of which maps are made: those that count most
BATCH = 16
_SHOWN = 0.995  # quantile of a map of pixels that is shown as 1: single pixels tower over all


@dataclass(frozen=True, eq=False)
class Map:
    """Where an image raises a number of the model, by one method.

    Attributes:
        values: (H, W) in [0, 1] at the image's size, for showing; all 0 where nothing there raises the number.
        raw: (h, w) as the method gives it, signed, of cells or of pixels; of an ensemble (H, W), see
            :func:`explain_image`.
        method: that made it.
        target: that is explained.
        layer: path of the module whose cells these are; empty where the map has pixels.
        score: the model's number for the target: a probability, a grade, a number.
        image: of a bag, which of its images.
        weight: of a bag whose images are weighed, the weight of this one.
    """

    values: FloatArray
    raw: FloatArray
    method: Method
    target: Target
    layer: str
    score: float
    image: int = 0
    weight: float | None = None

    @property
    def strength(self) -> FloatArray:
        """(H, W) what is above 0 at the image's size, for measuring: of pixels as they are, of cells :attr:`values`."""
        return self.values if self.layer else np.maximum(self.raw, 0)


def explain_image(
    model: Model,
    images: Tensor,
    targets: Sequence[str | Target] | None = None,
    methods: Sequence[Method] = ("gradcam",),
    *,
    layer: str | None = None,
    batch_size: int = BATCH,
    chosen: Sequence[int] | None = None,
) -> list[Map]:
    """Maps of one image, or of the images of one case that count most.

    The model is left as it was: mode, gradients and weights. Of an ensemble each map is the mean of the members' maps,
    each as a share of its highest value.

    Args:
        model: a task's model or ensemble, with its weights.
        images: (1, C, H, W) float32 in [0, 1] at the model's size; of a bag (N, C, H, W).
        targets: names of classes, or targets; None: what the task usually explains (see :meth:`Explainer.targets`).
        methods: in the order of the maps.
        layer: name of the layer whose cells the maps of the CAM family have; None: see
            :func:`~tasks.explain.activations.by_preference`.
        batch_size: images at once, where a method changes the image many times.
        chosen: numbers of the images of a bag; None: those that count most.

    Returns:
        By image, then by target, then by method.

    Raises:
        SuiteError: a method is unknown, or cannot be computed for this network; there is no such class or layer.
    """
    check_methods(methods)
    members = explainers(model, images)
    with looking([member.model for member in members]):
        explained = type(members[0]).targets(members, targets)
        weighed = [weights for member in members if (weights := member.weights()) is not None]
        weights = torch.stack(weighed).mean(dim=0) if weighed else None
        maps: list[Map] = []
        for image in members[0].chosen(IMAGES) if chosen is None else chosen:
            by_member = [
                maps_of(member, image, explained, methods, layer=layer, batch_size=batch_size) for member in members
            ]
            for of_members in zip(*by_member, strict=True):
                weight = None if weights is None else float(weights[image])
                maps.append(_as_map(of_members, members[0].images.shape[-2:], image, weight))
    return maps


def explainers(model: Model, images: Tensor) -> list[Explainer[Any]]:
    """An explainer of each member of a model.

    Raises:
        SuiteError: its task has none.
    """
    make = explainer_of(model)
    every = list(model.members) if isinstance(model, Ensemble) else [model]
    images = images.detach().to(model.device, torch.float32)
    return [make(member, images) for member in every]


def explainer_of(model: Model) -> type[Explainer[Any]]:
    """The explainer of a model's task.

    Raises:
        SuiteError: it has none.
    """
    spec = spec_of(model.name)
    if not spec.explainer:
        raise SuiteError(f"models of the task {model.name!r} cannot be explained: its spec names no explainer")
    found: type[Explainer[Any]] = spec.part("explainer")
    return found


def check_methods(methods: Sequence[str]) -> None:
    """Refuse what is no method.

    Raises:
        SuiteError: names the nearest.
    """
    for method in methods:
        if method not in METHODS:
            raise SuiteError(f"--method {method!r} is unknown: {nearest(method, METHODS)}")


def refusal(model: Model, method: Method, image: Tensor) -> str | None:
    """Why a method cannot be computed for a model; None where it can.

    Args:
        model: a task's model or ensemble.
        method: see :data:`~tasks.explain.methods.METHODS`.
        image: of the model's size, or those of a bag.
    """
    for one in explainers(model, image):
        if method in ATTENTION and (reason := why_not(one.model.backbone.net)) is not None:
            return reason
        if method == "cam" and (reason := one.not_linear()) is not None:
            return reason
        if method in GRADIENT and not one.differentiable:
            return NO_GRADIENT
    return None


def _as_map(of_members: Sequence[RawMap], size: Sequence[int], image: int, weight: float | None) -> Map:
    """The map of one model, or the mean of the members' maps, each as a share of its highest value."""
    first = of_members[0]
    fine = [one.full(size) for one in of_members]
    if len(fine) > 1:
        fine = [torch.stack([_shared(one, one.max()) for one in fine]).mean(dim=0)]
    raw = first.raw if len(of_members) == 1 else fine[0]
    values = _shared(fine[0], fine[0].max() if first.layer else fine[0].quantile(_SHOWN))
    layer = ", ".join(dict.fromkeys(one.layer for one in of_members))
    score = sum(one.score for one in of_members) / len(of_members)
    return Map(values.numpy(), raw.numpy(), first.method, first.target, layer, score, image, weight)


def _shared(fine: Tensor, highest: Tensor) -> Tensor:
    """A map that is not negative as a share of its highest value, however small; 0 where that is 0."""
    return (fine / highest).clamp(0, 1) if highest > 0 else (fine > 0).float()
