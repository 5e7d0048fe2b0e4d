"""Arguments of a data class that follow from flags of the model. A task declares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tasks.registry.run_files import checkpoint_in

# Images smaller than this are enlarged to it where pretrained weights are asked for: the features of a network trained
# at 224 px are meaningless at 28.
PRETRAINED_SIDE = 128


class Link(NamedTuple):
    """Link from a flag of the model to an argument of a data class.

    Attributes:
        model: the flag that is followed (``weights`` for ``--model.weights``).
        data: the argument of the data class; it is no flag.
        compute: from the value of the one to that of the other.
    """

    model: str
    data: str
    compute: Callable[[Any], Any]


def least_side(weights: str | None) -> int:
    """Smallest side of images for these weights; a suite checkpoint is used at the size the user gives."""
    return PRETRAINED_SIDE if weights is not None and not checkpoint_in(weights).endswith(".ckpt") else 0


def joins(aggregate: str) -> bool:
    """Whether the images of a case are evaluated together."""
    return aggregate != "none"
