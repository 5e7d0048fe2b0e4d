"""Batches of a loader of the user's own: what is wrong with one is said before the networks see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, float64

from scansuite.errors import SuiteError


def check_images(
    batch: Any, channels: int, targets: Sequence[str] = (), *, double: bool = False, features: int | None = None
) -> None:
    """See that a batch has images as the model takes them, and what else it must have.

    Args:
        batch: of any loader.
        channels: of the model's images.
        targets: keys that it must have beside ``image``.
        double: the model computes in float64.
        features: length of the vectors that it takes in place of images; None: it takes none.

    Raises:
        SuiteError: says what is there and what is expected.
    """
    if not isinstance(batch, Mapping):
        keys = ", ".join(("image", *targets))
        raise SuiteError(f"a batch of the loader is a {type(batch).__name__}: expected a dictionary of {keys}")
    for key in ("image", *targets):
        if key not in batch:
            raise SuiteError(f"a batch of the loader has no {key!r}: it has {', '.join(map(str, batch)) or 'nothing'}")
    image = batch["image"]
    wanted = f"expected (B, {channels}, H, W) of float32 from 0 to 1"
    if not isinstance(image, Tensor):
        raise SuiteError(f"a batch of the loader has {type(image).__name__} as image: {wanted}")
    fits = image.ndim == 4 and image.shape[1] == channels
    if "scan" in batch and image.ndim == 2 and image.shape[1] == features:  # of data sets of the suite alone
        return
    if len(image) and not (fits and image.is_floating_point() and (double or image.dtype != float64)):
        raise SuiteError(f"a batch of the loader has an image of {shown(image)}: {wanted}")


def check_classes(
    name: str, values: Tensor, shape: Sequence[int], classes: int, unknown: int = 0, *, look: bool = True
) -> None:
    """See that a target holds class numbers.

    Args:
        name: of the target, in the batch.
        values: the target.
        shape: that it must have.
        classes: how many there are.
        unknown: a further value that it may hold.
        look: at the numbers too, not at shape and type alone.

    Raises:
        SuiteError: another shape or type, or a number of no class.
    """
    expected = f"expected int64 class numbers of shape {tuple(shape)}"
    if not isinstance(values, Tensor) or tuple(values.shape) != tuple(shape) or str(values.dtype) != "torch.int64":
        raise SuiteError(f"a batch of the loader has a {name} of {shown(values)}: {expected}")
    if not look:
        return
    wrong = values[((values < 0) | (values >= classes)) & (values != unknown)]
    if len(wrong):
        raise SuiteError(f"a batch of the loader has class {int(wrong[0])} in {name}: there are {classes}, from 0")


def check_shape(name: str, values: Any, shape: Sequence[int]) -> None:
    """See that a target has a shape.

    Raises:
        SuiteError: it has another one, or is no tensor.
    """
    if not isinstance(values, Tensor) or tuple(values.shape) != tuple(shape):
        raise SuiteError(f"a batch of the loader has a {name} of {shown(values)}: expected shape {tuple(shape)}")


def shown(values: Any) -> str:
    """Shape and type of a tensor in words."""
    if not isinstance(values, Tensor):
        return type(values).__name__
    return f"shape {tuple(values.shape)} and type {str(values.dtype).removeprefix('torch.')}"
