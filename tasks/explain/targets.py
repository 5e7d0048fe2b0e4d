"""Targets of maps: what of a model's output is explained, and how it becomes one number of an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BoolArray = NDArray[np.bool_]
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Target:
    """What is explained in one image, whichever model looks at it.

    Attributes:
        name: as a reader sees it: a class, ``grade``, ``number``, or a class and the place of its box.
        label: name of the class; the name itself where there are no classes.
        box: (x1, y1, x2, y2) in pixels of the image, in detection.
        region: (H, W) pixels over which the class's numbers are added up, in segmentation.
    """

    name: str
    label: str
    box: Box | None = None
    region: BoolArray | None = None


@dataclass(frozen=True)
class Scorer:
    """A target as functions of one model's output.

    Attributes:
        value: output of B images -> (B,) the number whose rise a map explains, before any sigmoid or softmax.
        score: output of B images -> (B,) the number that is shown: a probability, a grade, the target's own number.
        differentiable: whether ``value`` has a gradient.
    """

    value: Callable[[Any], Tensor]
    score: Callable[[Any], Tensor]
    differentiable: bool = True
