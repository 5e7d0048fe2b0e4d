"""Interface of explainers: what each task says of its model, so that the methods know no task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from scansuite.errors import SuiteError, nearest
from tasks.base import Task
from tasks.explain.methods import Method
from tasks.explain.targets import Scorer, Target
from tasks.hardware import exact_float32

TaskT = TypeVar("TaskT", bound=Task)


class Explainer(ABC, Generic[TaskT]):
    """One image, or the images of one case, as a model sees them.

    A subclass a task says what is explained unless something is asked for (:meth:`targets`), how an output becomes the
    number of a target (:meth:`scorer`), and at which layers a map may be made (:meth:`layers`).

    Args:
        model: with its weights.
        images: (N, C, H, W) float32 in [0, 1] at the model's size, on the model's device: one image, or those of a bag.

    Attributes:
        pads: the model fills images up below and on the right, so that its layers cover more than the image.
        usual: the method where none is asked for.
    """

    pads: bool = False
    usual: ClassVar[Method] = "gradcam"

    def __init__(self, model: TaskT, images: Tensor) -> None:
        self.model, self.images = model, images

    def forward(self, images: Tensor, index: int = 0) -> Any:
        """Output for B variants of one image.

        Args:
            images: (B, C, H, W).
            index: the image of the case that they are variants of; the case's others stay as they are.
        """
        return self.model(images)

    def chosen(self, most: int) -> list[int]:
        """Numbers of the images that maps are made of: the ``most`` that count most."""
        return list(range(min(len(self.images), most)))

    def weights(self) -> Tensor | None:
        """(N,) weight of each image of a bag, where the model weighs them."""
        return None

    @classmethod
    @abstractmethod
    def targets(cls, members: Sequence[Self], asked: Sequence[str | Target] | None) -> list[Target]:
        """What is explained in the image.

        Args:
            members: explainers of one image: of one model, or of each member of an ensemble.
            asked: names of classes, or targets; None: what the task usually explains.

        Raises:
            SuiteError: there is no such class, or nothing of it in this image.
        """

    @abstractmethod
    def scorer(self, target: Target) -> Scorer:
        """The target as functions of this model's output."""

    @abstractmethod
    def layers(self) -> list[str]:
        """Paths of modules whose output may be the cells of a map, the first ones first."""

    @property
    def differentiable(self) -> bool:
        """Whether targets have a gradient."""
        return True

    def not_linear(self) -> str | None:
        """Why CAM proper does not hold; None where the output is linear in the mean of the deepest level's cells."""
        return "only a classifier with one linear layer on pooled features has it"

    def linear_weights(self, target: Target) -> Tensor:
        """(C,) by which the target's number is made of pooled cells, where :meth:`not_linear` is None."""
        raise NotImplementedError

    def deepest_cells(self, image: Tensor, index: int = 0) -> Tensor:
        """(1, C, h, w) that are pooled and weighed, where :meth:`not_linear` is None."""
        raise NotImplementedError

    def reads_class_token(self) -> bool:
        """Whether the output is read off a transformer's class token, and not off the mean of all places."""
        return False


@contextmanager
def looking(models: Sequence[Task]) -> Iterator[None]:
    """Look at models without changing them: evaluation mode, gradients possible, and all as before behind it.

    Gradients are asked of activations alone (``torch.autograd.grad``), so no parameter gets one.
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for model in models for parameter in model.parameters()]
    for model in models:
        model.eval()
    for parameter, _ in wanted:
        parameter.requires_grad_(False)  # less to keep; the image itself asks for a gradient
    try:
        with torch.inference_mode(False), torch.enable_grad(), exact_float32():
            yield
    finally:
        for parameter, asks in wanted:
            parameter.requires_grad_(asks)
        for module, mode in modes:
            module.training = mode


def of_classes(names: Sequence[str], asked: str) -> int:
    """Number of a class.

    Raises:
        SuiteError: there is none of that name; the nearest is given.
    """
    if asked not in names:
        raise SuiteError(f"target {asked!r} is no class of the model: {nearest(asked, names)}")
    return list(names).index(asked)
